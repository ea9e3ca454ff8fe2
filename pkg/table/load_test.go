package table

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// funcReader implements io.Reader by a function.
type funcReader func([]byte) (int, error)

func (f funcReader) Read(b []byte) (int, error) { return f(b) }

// after returns a reader of file that calls then after n bytes.
func after(file []byte, n int, then func() (int, error)) io.Reader {
	r := bytes.NewReader(file)
	return funcReader(func(b []byte) (int, error) {
		if read := len(file) - r.Len(); read >= n {
			if n, err := then(); err != nil {
				return n, err
			}
		}
		return r.Read(b)
	})
}

func loadFrom(ctx context.Context, t *testing.T, src io.Reader) (*Table, error) {
	t.Helper()
	r, err := snapshot.NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	return Load(ctx, r, Config{Version: 3, Workers: 2})
}

// severalBlocks returns a file of about 1 MiB in 4 blocks.
func severalBlocks(t *testing.T) []byte {
	return snapshotOf(t, testSeed, numberedRecords(8000, 100), 0)
}

func TestLoadFromASlowReader(t *testing.T) {
	m := numberedRecords(3000, 100)
	tab, err := loadFrom(t.Context(), t, iotest.OneByteReader(bytes.NewReader(snapshotOf(t, testSeed, m, 4<<20))))
	if err != nil {
		t.Fatal(err)
	}
	check(t, tab, testSeed, m)
}

func TestLoadWithHugePages(t *testing.T) {
	m := numberedRecords(12_000, 900)
	file := snapshotOf(t, testSeed, m, 0)
	for _, off := range []bool{false, true} {
		r, err := snapshot.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if r.Header().Bits < hugeBits {
			t.Fatalf("%d partition bits; the test needs a table with huge pages", r.Header().Bits)
		}
		tab, err := Load(t.Context(), r, Config{NoHugePages: off})
		if err != nil {
			t.Fatal(err)
		}
		check(t, tab, testSeed, m)
	}
}

func TestLoadReturnsTheReadersError(t *testing.T) {
	file := severalBlocks(t)
	broken := errors.New("connection reset")
	tab, err := loadFrom(t.Context(), t, after(file, len(file)/2, func() (int, error) { return 0, broken }))
	if !errors.Is(err, broken) || tab != nil {
		t.Fatalf("Load = %v, %v; want the reader's error", tab, err)
	}
	if !strings.Contains(err.Error(), "version 3") {
		t.Errorf("%q does not name the version", err)
	}
}

func TestLoadReturnsAPanicAsError(t *testing.T) {
	file := severalBlocks(t)
	_, err := loadFrom(t.Context(), t, after(file, len(file)/2, func() (int, error) { panic("the input is possessed") }))
	if err == nil || !strings.Contains(err.Error(), "possessed") {
		t.Fatalf("Load = %v, want the panic", err)
	}
}

// TestWorkerReturnsAPanicAsError passes a worker a block that no Reader returns.
func TestWorkerReturnsAPanicAsError(t *testing.T) {
	r, err := snapshot.NewReader(bytes.NewReader(severalBlocks(t)))
	if err != nil {
		t.Fatal(err)
	}
	l := newLoader(r, Config{})
	l.blocks <- snapshot.Stored{RawBytes: -1 << 20}
	close(l.blocks)
	var got error
	l.work(t.Context(), func(err error) { got = err })
	if got == nil || !strings.Contains(got.Error(), "panic") {
		t.Fatalf("the worker failed with %v, want a panic", got)
	}
}

func TestLoadHeedsItsContext(t *testing.T) {
	file := severalBlocks(t)
	why := errors.New("a newer version came")
	ctx, stop := context.WithCancelCause(t.Context())
	_, err := loadFrom(ctx, t, after(file, len(file)/2, func() (int, error) { stop(why); return 0, nil }))
	if !errors.Is(err, why) {
		t.Fatalf("Load = %v, want %v", err, why)
	}
	if _, err := loadFrom(ctx, t, bytes.NewReader(file)); !errors.Is(err, why) {
		t.Fatalf("Load with an ended context = %v, want %v", err, why)
	}
}

func TestLoadRefusesADelta(t *testing.T) {
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: testSeed})
	if err != nil {
		t.Fatal(err)
	}
	r := dataset.Record{Key: []byte("a"), Value: []byte("b")}
	if err := w.Add(r); err != nil {
		t.Fatal(err)
	}
	var state dataset.Checksum
	state.Add(testSeed, dataset.AppendRecord(nil, r))
	if _, err := w.CloseDelta(state); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, file.Bytes(), Config{}); !errors.Is(err, ErrKind) {
		t.Fatalf("Load of a delta = %v, want ErrKind", err)
	}
}
