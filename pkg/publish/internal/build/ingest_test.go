package build_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/scratch"
)

// sort sorts a text in CSV.
func sort(t *testing.T, ctx context.Context, text string, open func(*input.Stream) (input.Source, error), most int64) error {
	t.Helper()
	folder, err := scratch.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := build.New(build.Config{MemoryBytes: 4 << 20, MaxDecompressedBytes: most, Workers: 2}, nil)
	sorter, err := b.Sort(ctx, build.Input{Body: strings.NewReader(text), Open: open}, build.NewMeter(func(build.Progress) {}), 1, folder)
	if err == nil {
		sorter.Close()
	}
	return err
}

func openCSV(s *input.Stream) (input.Source, error) { return input.NewCSV(s, "id") }

// A small CSV with a long name of a column makes large records. They are bounded as decompression is.
func TestRecordsTooLarge(t *testing.T) {
	text := "id," + strings.Repeat("n", 100_000) + "\n" + strings.Repeat("a,\n", 2000)
	for want, most := range map[string]int64{
		"the records up to here have more than 1000 times the size of the body": 1 << 40,
		"the records up to here have more than 1000000 bytes":                   1_000_000,
	} {
		err := sort(t, t.Context(), text, openCSV, most)
		r, ok := errors.AsType[*input.Refusal](err)
		if !ok || !errors.Is(err, input.ErrTooLarge) || r.Problem != want || r.Line < 2 || r.Hint == "" {
			t.Errorf("%v; want %q", err, want)
		}
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
