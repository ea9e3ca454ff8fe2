package storeurl_test

import (
	"crypto/sha256"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestURLsThatNameNoStore(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	for rawURL, part := range map[string]string{
		"":                                "dir://",
		"data":                            "dir://data",
		"/data":                           "dir://",
		"http://host/hunter2":             "s3://",
		"http://user:hunter2@host/":       "s3://",
		"://hunter2":                      "dir:///path",
		"dir://":                          "names no folder",
		"dir:data":                        "dir://rel/path",
		"dir:///data?x=1":                 "%3F",
		"dir:///data#x":                   "%23",
		"dir://user:hunter2@host/x":       "more than a path",
		"dir:///%zz":                      "with %25 for a %",
		"s3://":                           "s3://bucket/prefix",
		"s3:bucket":                       "s3://bucket/prefix",
		"s3://id:hunter2@bucket":          "AWS_SECRET_ACCESS_KEY",
		"s3://bucket/a/../b":              "..",
		"s3://bucket/a//b":                "empty",
		"s3://bucket/#x":                  "s3://bucket/prefix",
		"s3://bucket?endpoint":            "endpoint needs one value",
		"s3://bucket?region=a&region=b":   "region needs one value",
		"s3://bucket?secret=hunter2":      "unknown name \"secret\"",
		"s3://bucket?path_style=true":     "path-style",
		"s3://bucket?path-style=maybe":    "true or false",
		"s3://bucket?endpoint=localhost":  "http://host:port",
		"s3://bucket?endpoint=ftp://host": "http://host:port",
		"s3://bucket?endpoint=http://u:hunter2@host":   "without user",
		"s3://bucket?endpoint=http://hunter2%23b@host": "query or fragment",
		"s3://bucket?endpoint=http://hunter2%3Fb@host": "query or fragment",
		"s3://bucket?endpoint=http://host/path":        "without user, path",
		"s3://bucket?endpoint=%zz":                     "query",
		"s3://b?endpoint=http://host":                  "bucket",
	} {
		st, err := storeurl.Open(t.Context(), rawURL)
		if err == nil {
			_ = st.Close()
		}
		if !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: got error %v, want one that wraps %v and has %q", rawURL, err, store.ErrURL, part)
		}
		if err != nil && rawURL != "http://host/hunter2" && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v tells the secret", err)
		}
	}
}

func open(t *testing.T, rawURL string) store.Store {
	t.Helper()
	st, err := storeurl.Open(t.Context(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func put(t *testing.T, st store.Store, text string) dataset.Digest {
	t.Helper()
	d := dataset.Digest(sha256.Sum256([]byte(text)))
	if err := st.PutObject(t.Context(), d, int64(len(text)), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestURLsOfFolders(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	for rawURL, want := range map[string]string{
		"dir://" + folder + "/a/b/c":        "a/b/c",
		"dir://rel":                         "rel",
		"dir://rel/d":                       "rel/d",
		"dir://./dot":                       "dot",
		"dir://x/../y/":                     "y",
		"dir://./with%20space/100%25%3F%23": "with space/100%?#",
		(&url.URL{Scheme: "dir", Path: folder + "/ä %41"}).String(): "ä %41",
	} {
		st, err := storeurl.Open(t.Context(), rawURL)
		if err != nil {
			t.Errorf("%s: %v", rawURL, err)
			continue
		}
		d := put(t, st, rawURL)
		if _, err := os.Stat(filepath.Join(folder, want, "objects", d.String()[:2], d.String())); err != nil {
			t.Errorf("%s: %v", rawURL, err)
		}
		t.Chdir(t.TempDir()) // changes neither the store nor its URL
		put(t, st, "more")
		if _, err := open(t, st.String()).StatObject(t.Context(), d); err != nil {
			t.Errorf("the URL of %s is %s, which opens another store: %v", rawURL, st, err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		t.Chdir(folder)
	}
}

func TestOpenExistingCreatesNoFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "store")
	st, err := storeurl.OpenExisting(t.Context(), "dir://"+folder)
	if st != nil || !errors.Is(err, store.ErrMissing) || !strings.Contains(err.Error(), folder) {
		t.Errorf("got %v, %v; want %v with the path", st, err, store.ErrMissing)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	st, err = storeurl.Open(t.Context(), "dir://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	again, err := storeurl.OpenExisting(t.Context(), st.String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
}

// A program that imports one implementation does not link the other.
func TestImplementationsLinkAlone(t *testing.T) {
	const minio, dir, s3 = "github.com/minio/minio-go/v7", "freshet.dev/pkg/store/dir", "freshet.dev/pkg/store/s3"
	for _, tc := range []struct {
		name         string
		links, lacks []string
	}{
		{"freshet.dev/pkg/store", nil, []string{minio, dir, s3}},
		{dir, nil, []string{minio, s3}},
		{s3, []string{minio}, []string{dir}},
		{"freshet.dev/pkg/store/storetest", nil, []string{minio, dir, s3}},
		{"freshet.dev/pkg/publish", nil, []string{minio, dir, s3}},
		{"freshet.dev/pkg/store/storeurl", []string{minio, dir, s3}, nil},
	} {
		out, err := exec.Command("go", "list", "-deps", tc.name).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", tc.name, err)
		}
		deps := strings.Fields(string(out))
		for _, dep := range tc.links {
			if !slices.Contains(deps, dep) {
				t.Errorf("%s does not link %s", tc.name, dep)
			}
		}
		for _, dep := range tc.lacks {
			if slices.Contains(deps, dep) {
				t.Errorf("%s links %s", tc.name, dep)
			}
		}
	}
}
