package publish_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// columns returns a Parquet file of rows.
func columns[T any](t testing.TB, rows ...T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type item struct {
	ID    string `parquet:"id" json:"id"`
	Cents *int64 `parquet:"cents,optional" json:"cents"`
}

type change struct {
	ID     string `parquet:"id"`
	Cents  *int64 `parquet:"cents,optional"`
	Remove *bool  `parquet:"$remove,optional"`
}

func onDisk(t *testing.T, data []byte, from int64) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return file
}

// A Parquet file is published from disk, from a pipe and compressed, with the format named or detected. No temporary file is left.
func TestPublishParquet(t *testing.T) {
	data := columns(t, item{"a", new(int64(5))}, item{"b", nil})
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(data)
	_ = w.Close()
	want := map[string]string{"a": `{"id":"a","cents":5}`, "b": `{"id":"b","cents":null}`}
	for name, in := range map[string]publish.Input{
		"on disk":      {Body: onDisk(t, data, 0)},
		"with offset":  {Body: onDisk(t, append([]byte("12345"), data...), 5)},
		"gzip on disk": {Body: onDisk(t, packed.Bytes(), 0)},
		"a pipe":       {Body: io.MultiReader(bytes.NewReader(data)), Format: publish.FormatParquet},
		"gzip":         {Body: bytes.NewReader(packed.Bytes())},
		"zstd":         {Body: bytes.NewReader(zstdOf(t, data)), Format: publish.FormatParquet},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			in.Key = "id"
			if _, err := r.Publish(t.Context(), "items", in); err != nil {
				t.Fatal(err)
			}
			noTemp(t, r.temp)
			if diff := cmp.Diff(want, r.newest(t, "items")); diff != "" {
				t.Errorf("- want, + got:\n%s", diff)
			}
		})
	}
}

// A patch in Parquet removes the records whose column $remove is true. A publish of all records refuses the column.
func TestPatchParquet(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "items", `{"id":"a"}`+"\n"+`{"id":"b"}`+"\n"+`{"id":"c"}`)
	data := columns(t, change{ID: "a", Remove: new(true)}, change{"b", new(int64(7)), new(false)}, change{ID: "d"})
	in := publish.Input{Body: bytes.NewReader(data), Key: "id"}
	got, err := r.Patch(t.Context(), "items", publish.PatchInput{Input: in})
	if err != nil {
		t.Fatal(err)
	}
	if got.Changes.Removed != 1 || got.Changes.Changed != 1 || got.Changes.Added != 1 {
		t.Errorf("changes %+v", got.Changes)
	}
	want := map[string]string{"b": `{"id":"b","cents":7}`, "c": `{"id":"c"}`, "d": `{"id":"d","cents":null}`}
	if diff := cmp.Diff(want, r.newest(t, "items")); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
	in.Body = bytes.NewReader(data)
	_, err = r.Publish(t.Context(), "items", in)
	refusedAt(t, err, publish.InputError{}, `the file has the column "$remove", which marks removals in a patch`)
	in.Body = bytes.NewReader(columns(t, item{ID: "a"}))
	_, err = r.Patch(t.Context(), "items", publish.PatchInput{Input: in, Remove: "gone"})
	refusedAt(t, err, publish.InputError{}, `the file has no column "gone", which marks removals; its columns are id, cents`)
}

// Refusals name the row.
func TestRefuseParquet(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		at   publish.InputError
		want string
	}{
		"no key": {columns(t, struct{ X int }{1}), publish.InputError{Record: 1}, `has no member "id", which was named as the key: name a member`},
		"null key": {columns(t, struct {
			ID *string `parquet:"id,optional"`
		}{}), publish.InputError{Record: 1}, `the key member "id" is null`},
		"key twice":     {columns(t, item{ID: "a"}, item{ID: "b"}, item{ID: "a"}), publish.InputError{Record: 3, Key: "a"}, "record 1 has the key already"},
		"no row":        {columns[item](t), publish.InputError{}, "the input has no record"},
		"cut":           {columns(t, item{ID: "a"})[:100], publish.InputError{}, "the Parquet file is cut short"},
		"a large value": {columns(t, item{ID: strings.Repeat("x", 3<<19)}), publish.InputError{Record: 1}, "the row has more than"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			_, err := r.Publish(t.Context(), "items", publish.Input{Body: bytes.NewReader(c.data), Key: "id"})
			refusedAt(t, err, c.at, strings.ReplaceAll(c.want, ": name a member", ""))
			noTemp(t, r.temp)
		})
	}
}

// refusedAt fails unless err is an InputError at the place that want has, with the text.
func refusedAt(t *testing.T, err error, want publish.InputError, text string) {
	t.Helper()
	got, ok := errors.AsType[*publish.InputError](err)
	if !ok || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %s", err, text)
		return
	}
	if at := (publish.InputError{File: got.File, Line: got.Line, Record: got.Record, Key: got.Key}); at != want {
		t.Errorf("at %+v, want %+v", at, want)
	}
}

// The pages of a row group must fit the memory, and the refusal says how much would be enough.
func TestParquetBeyondMemory(t *testing.T) {
	rows := make([]item, 300_000)
	for i := range rows {
		rows[i] = item{ID: fmt.Sprintf("%040d", i)}
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[item](&b, parquet.PageBufferSize(64<<20))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(cfg *publish.Config, _ *publish.Deps) { cfg.MemoryBytes = 8 << 20 })
	_, err := r.Publish(t.Context(), "items", publish.Input{Body: bytes.NewReader(b.Bytes()), Key: "id"})
	refusedAt(t, err, publish.InputError{}, `row group 1, column "id": the pages of the column needs `)
	if !errors.Is(err, publish.ErrTooLarge) {
		t.Errorf("%v is not ErrTooLarge", err)
	}
	_, hint, _ := strings.Cut(err.Error(), "(MemoryBytes of the library) to ")
	var mebibytes int64
	if _, err := fmt.Sscanf(hint, "%dMiB", &mebibytes); err != nil {
		t.Fatalf("the hint %q has no size: %v", hint, err)
	}
	r = newRig(t, func(cfg *publish.Config, _ *publish.Deps) { cfg.MemoryBytes = mebibytes << 20 })
	if _, err := r.Publish(t.Context(), "items", publish.Input{Body: bytes.NewReader(b.Bytes()), Key: "id"}); err != nil {
		t.Error(err)
	}
}

func zstdOf(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// newest returns the records of the newest version.
func (r *rig) newest(t *testing.T, name string) map[string]string {
	t.Helper()
	version, err := store.NewestVersion(t.Context(), r.store, name)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := r.store.Version(t.Context(), name, version)
	if err != nil {
		t.Fatal(err)
	}
	return content(t, r.store, rec)
}
