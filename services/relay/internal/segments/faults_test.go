package segments

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// brokenReader yields its bytes, then the error.
type brokenReader struct {
	io.Reader
	err error
}

func (b *brokenReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func (b *brokenReader) Close() error { return nil }

func TestFailedFillsAreForgotten(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		read func(offset int64, b []byte) (io.ReadCloser, error)
		want error
	}{
		"open fails": {func(int64, []byte) (io.ReadCloser, error) { return nil, broken }, broken},
		"read fails": {func(_ int64, b []byte) (io.ReadCloser, error) {
			return &brokenReader{bytes.NewReader(b[:9]), broken}, nil
		}, broken},
		"short":         {func(_ int64, b []byte) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b[:9])), nil }, ErrShort},
		"nothing":       {func(int64, []byte) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }, ErrShort},
		"origin panics": {func(int64, []byte) (io.ReadCloser, error) { panic("boom") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin()
			d, want := o.add(segment)
			o.read = c.read
			cache := newCache(t, o, 16)
			if _, err := readAll(t.Context(), cache, d); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			o.read = nil
			if got, err := readAll(t.Context(), cache, d); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the next read got %d bytes, %v", len(got), err)
			}
		})
	}
}

// A fill in flight when its object is forgotten serves the callers that wait for it, and no later ones.
func TestForgetDuringAFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(segment)
		wrong := bytes.Clone(want)
		wrong[9] ^= 1
		inStore := wrong
		o.read = func(int64, []byte) (io.ReadCloser, error) {
			r := bytes.NewReader(inStore)
			<-time.After(time.Second)
			return io.NopCloser(r), nil
		}
		c := newCache(t, o, 16)
		var wg sync.WaitGroup
		expect := func(content []byte) {
			if got, err := readAll(t.Context(), c, d); err != nil || !bytes.Equal(got, content) {
				t.Errorf("got %d bytes, damaged: %v, %v", len(got), bytes.Equal(got, wrong), err)
			}
		}
		wg.Go(func() { expect(wrong) })
		synctest.Wait()
		inStore = want
		c.Forget(d, segment)
		<-time.After(time.Millisecond)
		wg.Go(func() { expect(want) })
		wg.Wait()
		expect(want)
		if n := o.opens.Load(); n != 2 {
			t.Errorf("%d reads of the origin, want 2", n)
		}
	})
}

// Clients that hold segments do not hold up others as long as the cache has segments that no client holds; when all are held,
// the wait is bounded.
func TestHeldSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(17 * segment)
		c := newCache(t, o, 16)
		var held []*Segment
		for i := range int64(16) {
			s, err := c.Segment(t.Context(), d, int64(len(want)), i)
			if err != nil {
				t.Fatalf("segment %d: %v", i, err)
			}
			held = append(held, s)
		}
		start := time.Now()
		if _, err := c.Segment(t.Context(), d, int64(len(want)), 16); !errors.Is(err, ErrBusy) {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("the wait took %v", took)
		}
		for i, s := range held {
			if !bytes.Equal(s.Bytes(), want[i*segment:(i+1)*segment]) {
				t.Errorf("segment %d changed while it was held", i)
			}
			s.Release()
		}
		s, err := c.Segment(t.Context(), d, int64(len(want)), 16)
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
	})
}

func TestTooManyOriginReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(3 * segment)
		o.read = func(_ int64, b []byte) (io.ReadCloser, error) {
			<-time.After(5 * time.Second)
			return io.NopCloser(bytes.NewReader(b)), nil
		}
		c := newCache(t, o, 16)
		var wg sync.WaitGroup
		var busy atomic.Int64
		for i := range int64(3) {
			wg.Go(func() {
				s, err := c.Segment(t.Context(), d, int64(len(want)), i)
				if errors.Is(err, ErrBusy) {
					busy.Add(1)
				} else if err == nil {
					s.Release()
				}
			})
		}
		wg.Wait()
		if busy.Load() != 1 || c.Stats().Busy != 1 {
			t.Errorf("%d were refused, %+v", busy.Load(), c.Stats())
		}
	})
}

func TestOriginTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &hanging{}
		c := newCache(t, o, 16)
		start := time.Now()
		if _, err := c.Segment(t.Context(), dataset.Digest{}, segment, 0); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("error is %v after %v", err, time.Since(start))
		}
		if _, err := c.Size(t.Context(), dataset.Digest{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
	})
}

// hanging is an origin that never answers.
type hanging struct{}

func (*hanging) StatObject(ctx context.Context, _ dataset.Digest) (int64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func (*hanging) OpenObject(ctx context.Context, _ dataset.Digest, _, _ int64) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestReleasedTwice(t *testing.T) {
	o := newOrigin()
	d, _ := o.add(segment)
	c := newCache(t, o, 16)
	s, err := c.Segment(t.Context(), d, segment, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
	c.kept.InvalidateAll()
	defer func() {
		if recover() == nil {
			t.Error("a second Release went unnoticed")
		}
	}()
	s.Release()
}
