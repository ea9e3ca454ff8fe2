package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

func (s suite) objectsReadAsPut(t *testing.T) {
	st := s.fresh(t)
	for _, n := range []int64{0, 1, 4096, 1<<20 + 1, s.LargeBytes} {
		b, d := content(n, 1)
		absent(t, st, d)
		put(t, st, b, d)
		if got, err := st.StatObject(t.Context(), d); err != nil || got != n {
			t.Errorf("StatObject of %d bytes: %d, %v", n, got, err)
		}
		if got := read(t, st, d, 0, -1); !bytes.Equal(got, b) {
			t.Errorf("an object of %d bytes reads as %d other ones", n, len(got))
		}
	}
}

func (s suite) rangesReadAsAsked(t *testing.T) {
	st := s.fresh(t)
	b, d := content(9, 2)
	put(t, st, b, d)
	size := int64(len(b))
	for offset := int64(-1); offset <= size+1; offset++ {
		for _, length := range []int64{-1, 0, 1, 2, size - offset, size - offset + 1, 1<<63 - 1} {
			if offset > size && length < 0 && length != -1 {
				continue // size-offset is negative too: the same case
			}
			end := offset + length
			if length < 0 {
				end = size
			}
			if offset < 0 || offset > size || end > size || end < offset {
				r, err := st.OpenObject(t.Context(), d, offset, length)
				wantErr(t, fmt.Sprintf("%d bytes from %d of %d", length, offset, size), err, store.ErrRange)
				if err == nil {
					_ = r.Close()
				}
				continue
			}
			if got := read(t, st, d, offset, length); !bytes.Equal(got, b[offset:end]) {
				t.Errorf("%d bytes from %d read as %x, want %x", length, offset, got, b[offset:end])
			}
		}
	}
	_, other := content(9, 3)
	for _, r := range [][2]int64{{0, -1}, {0, 0}, {3, 2}, {100, -1}} {
		_, err := st.OpenObject(t.Context(), other, r[0], r[1])
		wantErr(t, fmt.Sprintf("%d bytes from %d of a missing object", r[1], r[0]), err, store.ErrNotFound)
	}

	large, d := content(s.LargeBytes, 4)
	put(t, st, large, d)
	from, n := s.LargeBytes/3, s.LargeBytes/2
	if got := read(t, st, d, from, n); !bytes.Equal(got, large[from:from+n]) {
		t.Errorf("%d bytes from %d of a large object read as %d other ones", n, from, len(got))
	}
}

func (s suite) objectIsNotPutTwice(t *testing.T) {
	st := s.fresh(t)
	b, d := content(100, 5)
	put(t, st, b, d)
	if err := st.PutObject(t.Context(), d, 100, iotest.ErrReader(errors.New("it was read"))); err != nil {
		t.Errorf("put of an existing object: %v", err)
	}
	if got := read(t, st, d, 0, -1); !bytes.Equal(got, b) {
		t.Error("the object is another one after the second put")
	}
}

func (s suite) wrongContentLeavesNothing(t *testing.T) {
	st := s.fresh(t)
	for _, n := range []int64{100, s.LargeBytes} {
		b, d := content(n, 6)
		other, _ := content(n, 7)
		for what, wrong := range map[string][]byte{
			"less": b[:n-1], "nothing": nil, "more": append(bytes.Clone(b), 0), "other": other,
		} {
			err := st.PutObject(t.Context(), d, n, bytes.NewReader(wrong))
			wantErr(t, what+" content", err, store.ErrMismatch)
			absent(t, st, d)
		}
		wantErr(t, "negative size", st.PutObject(t.Context(), d, -1, bytes.NewReader(b)), store.ErrMismatch)
		wantErr(t, "no digest", st.PutObject(t.Context(), dataset.Digest{}, n, bytes.NewReader(b)), store.ErrMismatch)
		put(t, st, b, d)
		if got := read(t, st, d, 0, -1); !bytes.Equal(got, b) {
			t.Error("the object is another one after failed attempts")
		}
	}
}

func (s suite) failingSourceLeavesNothing(t *testing.T) {
	st := s.fresh(t)
	for _, n := range []int64{100, s.LargeBytes} {
		b, d := content(n, 8)
		for _, fault := range []error{errors.New("fault"), io.ErrUnexpectedEOF} {
			for _, at := range []int64{0, n / 2, n - 1, n} {
				src := io.MultiReader(bytes.NewReader(b[:at]), iotest.ErrReader(fault))
				wantErr(t, fmt.Sprintf("a source that fails after %d of %d bytes", at, n), st.PutObject(t.Context(), d, n, src), fault)
				absent(t, st, d)
			}
		}
	}
}

func (s suite) cancelledUploadLeavesNothing(t *testing.T) {
	st := s.fresh(t)
	for _, n := range []int64{100, s.LargeBytes} {
		b, d := content(n, 9)
		ctx, cancel := context.WithCancel(t.Context())
		src := io.MultiReader(bytes.NewReader(b[:n/2]), readerFunc(func([]byte) (int, error) {
			cancel()
			return 0, nil
		}), bytes.NewReader(b[n/2:]))
		wantErr(t, "a context that ends half-way", st.PutObject(ctx, d, n, src), context.Canceled)
		cancel()
		absent(t, st, d)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (s suite) concurrentUploadsOfOneObject(t *testing.T) {
	location := s.Location(t)
	stores := []store.Store{s.open(t, location), s.open(t, location)}
	b, d := content(300_000, 10)
	uploads := pool.New().WithErrors()
	for i := range 8 {
		uploads.Go(func() error {
			st := stores[i%2]
			if err := st.PutObject(t.Context(), d, int64(len(b)), bytes.NewReader(b)); err != nil {
				return err
			}
			if n, err := st.StatObject(t.Context(), d); err != nil || n != int64(len(b)) {
				return fmt.Errorf("after its upload the object has %d bytes: %w", n, err)
			}
			return nil
		})
	}
	if err := uploads.Wait(); err != nil {
		t.Error(err)
	}
	if got := read(t, stores[0], d, 0, -1); !bytes.Equal(got, b) {
		t.Error("the object is another one")
	}
}

func (s suite) openReadersOutliveTheStore(t *testing.T) {
	st, err := s.Open(t.Context(), s.Location(t))
	if err != nil {
		t.Fatal(err)
	}
	b, d := content(s.LargeBytes, 11)
	put(t, st, b, d)
	r, err := st.OpenObject(t.Context(), d, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read %d bytes of %d: %v", len(got), len(b), err)
	}
}
