package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/parquet-go/parquet-go"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/services/freshet/internal/exit"
)

// table is a Parquet file of one record.
func table(t *testing.T, sku string) []byte {
	t.Helper()
	type row struct {
		SKU   string  `parquet:"sku"`
		Price float64 `parquet:"price"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	if _, err := w.Write([]row{{sku, 0.5}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tree writes files into a new folder and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Files, a folder, objects in S3 and standard input are one version.
func TestPublishSeveralSources(t *testing.T) {
	server := servertest.S3(t)
	f := start(t, "prices")
	dir := tree(t, map[string]string{
		"b/2.csv": "sku,price\nb2,1\n", "b/1.parquet": string(table(t, "b1")), "a.ndjson": `{"sku":"a"}`,
		"_SUCCESS": "", ".part.crc": "x", "_tmp/x.ndjson": "x", ".git/x": "x",
	})
	put(t, server, map[string]string{"in/x/1.ndjson": `{"sku":"x1"}`, "in/y.parquet": string(table(t, "y")), "in/_SUCCESS": "", "in/.x/1": "x", "other": `{"sku":"z"}`})
	endpoint := "?endpoint=" + server.Endpoint
	all := []string{"publish", "prices", dir, "-", "s3://freshet/in/" + endpoint, "s3://freshet/other" + endpoint, "--key", "sku"}
	run(t.Context(), f.env, `{"sku":"in"}`, all...).want(t, exit.OK, "prices version 1: 7 records")
	for key, value := range map[string]string{
		"a": `{"sku":"a"}`, "b1": `{"sku":"b1","price":0.5}`, "b2": `{"sku":"b2","price":"1"}`, "in": `{"sku":"in"}`, "x1": `{"sku":"x1"}`,
		"y": `{"sku":"y","price":0.5}`, "z": `{"sku":"z"}`,
	} {
		f.until(t, exit.OK, []string{value}, "get", "prices", key)
	}
	f.run(t, "publish", "prices", "s3://freshet/in/y.parquet"+endpoint, "--key", "sku", "--allow-shrink", "--reason", "one").want(t, exit.OK, "prices version 2: 1 record")

	f.run(t, "publish", "prices", "s3://freshet/in/y.parquet"+endpoint, filepath.Join(dir, "a.ndjson"), file(t, "twice.csv", "sku\nq\na\n"), "--key", "sku").
		want(t, exit.Refused, `file "`, `twice.csv": line 3: key "a": the key stands on line 1 of "`+filepath.Join(dir, "a.ndjson")+`" already`)
	f.run(t, "publish", "prices", "s3://freshet/no"+endpoint, "--key", "sku").want(t, exit.Usage, "there is no object s3://freshet/no; a URL that ends with / stands for")
	f.run(t, "publish", "prices", "s3://freshet/no/"+endpoint, "--key", "sku").want(t, exit.Usage, "there is no object below s3://freshet/no/")
	f.run(t, "publish", "prices", "s3://missing/no/"+endpoint, "--key", "sku").want(t, exit.Usage, "create the bucket missing")
	f.run(t, "publish", "prices", "s3://freshet/in/?endpoint=nowhere", "--key", "sku").want(t, exit.Usage, "its endpoint is not of the form")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	f.run(t, "publish", "prices", "s3://freshet/in/"+endpoint, "--key", "sku").want(t, exit.Usage, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
}

// put puts objects into the bucket.
func put(t *testing.T, server *servertest.S3Server, objects map[string]string) {
	t.Helper()
	client, err := minio.New(strings.TrimPrefix(server.Endpoint, "http://"), &minio.Options{Creds: credentials.NewEnvAWS(), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range objects {
		if _, err := client.PutObject(t.Context(), server.Bucket, key, strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFindSources(t *testing.T) {
	dir := tree(t, map[string]string{"10": "x", "9": "x", "sub/1": "x", "sub/deep/0": "x", "a.parquet": "x", ".hidden": "x"})
	s, err := findSources(t.Context(), []string{filepath.Join(dir, "9"), dir, "-"}, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, source := range s.all {
		names = append(names, strings.TrimPrefix(source.name, dir+"/"))
	}
	if got := strings.Join(names, " "); got != "9 10 9 a.parquet sub/1 sub/deep/0 standard input" {
		t.Errorf("the sources are %s", got)
	}
	link := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(link, "there")); err != nil {
		t.Fatal(err)
	}
	many := map[string]string{}
	for i := range publish.MaxFiles + 1 {
		many[strings.Repeat("x", 1+i/1000)+"/"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676%26))] = ""
	}
	for want, names := range map[string][]string{
		"there is no file nowhere; - reads":            {"nowhere"},
		"- stands for standard input, and comes twice": {"-", "-"},
		"is no regular file; name it as an argument":   {link},
		"has no file; files whose names begin with":    {tree(t, map[string]string{"_x": ""})},
		"there are more than 10000 files":              {tree(t, many)},
	} {
		if _, err := findSources(t.Context(), names, nil); exit.Of(err) != exit.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A publish of several files whose answer is lost is sent again, unless one of them can be read only once.
func TestAgain(t *testing.T) {
	dir := tree(t, map[string]string{"a": "1", "b": "2"})
	for _, names := range [][]string{{dir}, {filepath.Join(dir, "a")}} {
		in, err := openInput(context.Background(), names, nil, publish.FormatAuto)
		if err != nil {
			t.Fatal(err)
		}
		first := readAll(t, in)
		if !in.again() {
			t.Error("cannot be read again")
		}
		if again := readAll(t, in); len(again) != len(first) || !strings.Contains(again, "1") {
			t.Errorf("got %q, then %q", first, again)
		}
		in.close()
	}
	in, err := openInput(context.Background(), []string{dir, "-"}, strings.NewReader(""), publish.FormatAuto)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	if in.again() {
		t.Error("standard input is read again")
	}
}

func readAll(t *testing.T, in inputFile) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(in); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
