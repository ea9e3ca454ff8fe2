package publish_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

func filesOf(files ...publish.File) iter.Seq2[publish.File, error] {
	return func(yield func(publish.File, error) bool) {
		for _, f := range files {
			if !yield(f, nil) {
				return
			}
		}
	}
}

func textFile(name, text string) publish.File {
	return publish.File{Name: name, Body: strings.NewReader(text), Format: publish.FormatOf(name)}
}

// Several files of any formats are one version.
func TestPublishFiles(t *testing.T) {
	r := newRig(t, nil)
	table := columns(t, item{"c", new(int64(3))})
	in := publish.Input{Key: "id", Files: filesOf(
		textFile("a.ndjson", `{"id":"a"}`+"\n"), textFile("empty.ndjson", ""), textFile("b.csv", "id,cents\nb,2\n"),
		publish.File{Name: "c.parquet", Body: bytes.NewReader(table)}, publish.File{Name: "d.parquet", Body: bytes.NewReader(columns[item](t))},
		textFile("e.json", `[{"id":"e"}]`),
	)}
	result, err := r.Publish(t.Context(), "items", in)
	if err != nil {
		t.Fatal(err)
	}
	if result.Record.State.Records != 4 {
		t.Errorf("%d records", result.Record.State.Records)
	}
	want := map[string]string{"a": `{"id":"a"}`, "b": `{"id":"b","cents":"2"}`, "c": `{"id":"c","cents":3}`, "e": `{"id":"e"}`}
	if diff := cmp.Diff(want, r.newest(t, "items")); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
	noTemp(t, r.temp)
}

// A refusal names the file and the line or row in it, also for a key that stands in two files.
func TestRefuseFiles(t *testing.T) {
	lost := errors.New("lost")
	a := "{\"id\":\"a\"}\n\n{\"id\":\"b\"}\n"
	for name, c := range map[string]struct {
		files iter.Seq2[publish.File, error]
		at    publish.InputError
		want  string
	}{
		"no JSON":     {filesOf(textFile("a.ndjson", a), textFile("x.ndjson", "{\"id\":\"c\"}\nx\n")), publish.InputError{File: "x.ndjson", Line: 2}, `dataset "items": file "x.ndjson": line 2: it`},
		"no name":     {filesOf(textFile("a.ndjson", a), textFile("", "x")), publish.InputError{File: "2", Line: 1}, "it is neither JSON"},
		"twice":       {filesOf(textFile("a.ndjson", a), textFile("x.csv", "id\nc\nb\n")), publish.InputError{File: "x.csv", Line: 3, Key: "b"}, `the key stands on line 3 of "a.ndjson" already`},
		"twice in it": {filesOf(textFile("a.ndjson", a), textFile("x.csv", "id\nc\nc\n")), publish.InputError{File: "x.csv", Line: 3, Key: "c"}, "the key stands on line 2 already"},
		"in Parquet": {
			filesOf(publish.File{Name: "p.parquet", Body: bytes.NewReader(columns(t, item{ID: "z"}, item{ID: "b"}))}, textFile("", ""), textFile("a.ndjson", a)),
			publish.InputError{File: "a.ndjson", Line: 3, Key: "b"},
			`record 2 of "p.parquet" has the key already`,
		},
		"Parquet second": {
			filesOf(textFile("a.ndjson", a), publish.File{Name: "p.parquet", Body: bytes.NewReader(columns(t, item{ID: "z"}, item{ID: "b"}))}),
			publish.InputError{File: "p.parquet", Record: 2, Key: "b"},
			`the key stands on line 3 of "a.ndjson" already`,
		},
		"a long name": {filesOf(textFile(strings.Repeat("x", 1025), a)), publish.InputError{}, "the name of file 1 has more than 1024 bytes"},
		"no body":     {filesOf(publish.File{Name: "x"}), publish.InputError{File: "x"}, "the file has no Body"},
		"no file":     {filesOf(), publish.InputError{}, "the input has no record"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			_, err := r.Publish(t.Context(), "items", publish.Input{Key: "id", Files: c.files})
			refusedAt(t, err, c.at, c.want)
			noTemp(t, r.temp)
		})
	}
	t.Run("too many", func(t *testing.T) {
		r := newRig(t, nil)
		_, err := r.Publish(t.Context(), "items", publish.Input{Key: "id", Files: func(yield func(publish.File, error) bool) {
			for yield(textFile("x.ndjson", ""), nil) {
			}
		}})
		refusedAt(t, err, publish.InputError{}, "the input has more than 10000 files; put them together into fewer")
	})
	t.Run("an error", func(t *testing.T) {
		r := newRig(t, nil)
		_, err := r.Publish(t.Context(), "items", publish.Input{Key: "id", Files: func(yield func(publish.File, error) bool) { yield(publish.File{}, lost) }})
		if !errors.Is(err, lost) || !strings.Contains(err.Error(), "file 1 of the input: lost") {
			t.Errorf("got %v", err)
		}
	})
	for want, in := range map[string]publish.Input{
		"two of Body, Files and Records are set":  {Key: "id", Body: strings.NewReader(""), Files: filesOf()},
		"Format describes Body, and Files is set": {Key: "id", Format: publish.FormatCSV, Files: filesOf()},
		"the key": {Keys: []string{"id", ""}, Files: filesOf()},
	} {
		refusedAt(t, publish.CheckInput("items", in), publish.InputError{}, want)
	}
}

// Nothing is left of files that cannot be read to their end, whatever the reason.
func TestFilesThatFail(t *testing.T) {
	lost := errors.New("lost")
	half := func(end func() error) io.Reader {
		return io.MultiReader(bytes.NewReader(columns(t, item{ID: "z"})[:50]), readFunc(func([]byte) (int, error) { return 0, end() }))
	}
	for name, end := range map[string]func(cancel func()) error{
		"an error":  func(func()) error { return lost },
		"the end":   func(cancel func()) error { cancel(); return nil },
		"a panic":   func(func()) error { panic(lost) },
		"no reader": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			files := func(yield func(publish.File, error) bool) {
				if !yield(publish.File{Name: "a.parquet", Body: bytes.NewReader(columns(t, item{ID: "a"}))}, nil) {
					return
				}
				if end == nil {
					panic(lost)
				}
				yield(publish.File{Name: "b.parquet", Body: half(func() error { return end(func() { cancel(lost) }) })}, nil)
			}
			err := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = p.(error)
					}
				}()
				_, err = r.Publish(ctx, "items", publish.Input{Key: "id", Files: files})
				return err
			}()
			if err == nil || !strings.Contains(err.Error(), "lost") {
				t.Errorf("got %v", err)
			}
			if version, err := store.NewestVersion(t.Context(), r.store, "items"); err != nil || version != 0 {
				t.Errorf("version %d, %v", version, err)
			}
			noTemp(t, r.temp)
		})
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
