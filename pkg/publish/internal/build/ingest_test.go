package build_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/input"
)

// sort sorts a text in CSV.
func sort(t *testing.T, ctx context.Context, text string, open func(*input.Stream) (input.Source, error), most int64) error {
	t.Helper()
	return sortInput(t, ctx, oneFile(strings.NewReader(text), open), most, newFolder(t))
}

func newFolder(t *testing.T) *scratch.Folder {
	t.Helper()
	folder, err := scratch.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func sortInput(t *testing.T, ctx context.Context, in build.Input, most int64, folder *scratch.Folder) error {
	t.Helper()
	b := build.New(build.Config{MemoryBytes: 4 << 20, MaxDecompressedBytes: most, Workers: 2}, nil)
	sorter, err := b.Sort(ctx, in, build.NewMeter(func(build.Progress) {}), 1, folder)
	if err == nil {
		sorter.Close()
	}
	return err
}

func openCSV(s *input.Stream) (input.Source, error) { return input.NewCSV(s, input.Member("id")) }

// A small CSV with a long name of a column makes large records. They are bounded as decompression is.
func TestRecordsTooLarge(t *testing.T) {
	text := "id," + strings.Repeat("n", 100_000) + "\n" + strings.Repeat("a,\n", 2000)
	for want, c := range map[string]struct {
		text string
		most int64
		line int // 0: any
	}{
		"the records up to here have more than 1000 times the size of their text": {gzipped(t, text), 1 << 40, 0},
		"the records up to here have more than 1000000 bytes":                     {text, 1_000_000, 13}, // a batch has three rows
	} {
		err := sort(t, t.Context(), c.text, openCSV, c.most)
		r, ok := errors.AsType[*input.Refusal](err)
		if !ok || !errors.Is(err, input.ErrTooLarge) || r.Problem != want || r.Line < 2 || c.line > 0 && r.Line != c.line || r.Hint == "" {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The ratios of gzip and of the names of columns do not multiply: a gzipped CSV of mostly empty fields is accepted.
func TestGzippedSparseCSV(t *testing.T) {
	var text strings.Builder
	text.WriteString("id")
	names := 0
	for i := range 300 {
		n, _ := fmt.Fprintf(&text, ",a_name_of_a_column_that_is_long_but_not_unusually_so_%d", i)
		names += n
	}
	const rows = 8000
	for i := range rows {
		fmt.Fprintf(&text, "\n%d%s", i, strings.Repeat(",", 300))
	}
	body := gzipped(t, text.String())
	if ratio := rows * names / len(body); rows*names < 128<<20 || ratio < 1000 {
		t.Fatalf("the records have %d bytes, %d times the body: the test shows nothing", rows*names, ratio)
	}
	if err := sort(t, t.Context(), body, openCSV, 0); err != nil {
		t.Error(err)
	}
}

// Records that panic leave no files of spilled records.
func TestRecordsThatPanic(t *testing.T) {
	folder := newFolder(t)
	in := build.Input{Records: func(yield func(dataset.Record, error) bool) {
		for i := range 64 {
			if !yield(dataset.Record{Key: []byte{byte(i)}, Value: make([]byte, 256<<10)}, nil) {
				return
			}
		}
		if files, err := filepath.Glob(folder.Path("range*")); len(files) == 0 || err != nil {
			t.Errorf("no records are spilled before the panic: %v", err)
		}
		panic("a fault of the caller")
	}}
	func() {
		defer func() { recover() }()
		t.Errorf("no panic: %v", sortInput(t, t.Context(), in, 0, folder))
	}()
	if files, err := filepath.Glob(folder.Path("range*")); len(files) != 0 || err != nil {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}

// stopping is a source whose decoders call stop for each text.
type stopping struct {
	input.Source
	stop func()
}

type stoppingDecoder struct {
	input.Decoder
	stop func()
}

func (s stopping) NewDecoder() input.Decoder { return stoppingDecoder{s.Source.NewDecoder(), s.stop} }

func (d stoppingDecoder) Decode(b *input.Batch, i int) (key, value []byte, err error) {
	d.stop()
	return d.Decoder.Decode(b, i)
}

// A batch of many records ends with the context.
func TestContextEndsBatch(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("the client has left")
	decoded := 0 // by one decoder: the text is one batch
	err := sort(t, ctx, "id\n"+strings.Repeat("a\n", 10_000), func(s *input.Stream) (input.Source, error) {
		src, err := openCSV(s)
		return stopping{src, func() { decoded++; cancel(left) }}, err
	}, 0)
	if !errors.Is(err, left) || decoded != 1 {
		t.Errorf("%d records after the end, %v", decoded-1, err)
	}
}

// oneFile returns the input of one file.
func oneFile(body io.Reader, open func(*input.Stream) (input.Source, error)) build.Input {
	return build.Input{Places: new(build.Places), Files: func(yield func(build.File, error) bool) {
		yield(build.File{Body: body, Open: open}, nil)
	}}
}
