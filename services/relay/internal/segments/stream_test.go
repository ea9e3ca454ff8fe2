package segments

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// readers is a cache of 64 segments and what its readers read: windows of 8 segments for objects above 56.
func newReaders(t *testing.T, o *origin) *Cache {
	t.Helper()
	c, err := New(Config{
		Bytes: 64 * segment, SegmentBytes: segment, TTL: time.Minute, OriginReads: 4, OriginTimeout: 10 * time.Second,
		BusyWait: time.Second, ReadAhead: 4 * segment,
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if n := c.arena.inUse(); n != 0 {
			t.Errorf("%d buffers are in use after Close", n)
		}
	})
	return c
}

// pass reads the object from segment first on, calls each before each segment, and checks the bytes.
func pass(ctx context.Context, c *Cache, d dataset.Digest, want []byte, first int64, each func(i int64)) error {
	size := int64(len(want))
	r := c.NewReader(d, size, first*segment, size)
	defer r.Close()
	for i := first; i*segment < size; i++ {
		each(i)
		s, err := r.Segment(ctx, i)
		if err != nil {
			return err
		}
		if !bytes.Equal(s.Bytes(), want[i*segment:min(size, (i+1)*segment)]) {
			s.Release()
			return fmt.Errorf("wrong bytes in segment %d", i)
		}
		s.Release()
	}
	return nil
}

func nothing(int64) {}

func TestReadAheadAsksForMoreAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(20 * segment)
		c := newReaders(t, o)
		if err := pass(t.Context(), c, d, want, 0, func(int64) { synctest.Wait() }); err != nil {
			t.Fatal(err)
		}
		// Runs of 1, 2, 4, 4, 4, 4 and the last segment.
		if s := c.Stats(); s.Fills != 20 || s.OriginReads != 7 || s.OriginBytes != 20*segment {
			t.Errorf("%+v", s)
		}
		// A second reader, with one segment of the middle gone, asks for that one alone.
		c.kept.Invalidate(place{d, 20 * segment, 9})
		if err := pass(t.Context(), c, d, want, 0, func(int64) { synctest.Wait() }); err != nil {
			t.Fatal(err)
		}
		if s := c.Stats(); s.Fills != 21 || s.OriginReads != 8 {
			t.Errorf("the second time: %+v", s)
		}
	})
}

// A reader of a part has nothing read that lies behind its end.
func TestReadAheadEndsWithTheRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, _ := o.add(20 * segment)
		c := newReaders(t, o)
		r := c.NewReader(d, 20*segment, 5*segment, 8*segment)
		defer r.Close()
		for i := int64(5); i < 8; i++ {
			s, err := r.Segment(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			s.Release()
			synctest.Wait()
		}
		if s := c.Stats(); s.Fills != 3 || s.OriginReads != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A run whose reading fails half-way gives what came before, and is not remembered.
func TestARunFailsHalfWay(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(20 * segment)
		c := newReaders(t, o)
		o.read = func(_ int64, b []byte) (io.ReadCloser, error) {
			if len(b) > 2*segment {
				return &brokenReader{bytes.NewReader(b[:segment+9]), broken}, nil
			}
			return io.NopCloser(bytes.NewReader(b)), nil
		}
		err := pass(t.Context(), c, d, want, 0, func(int64) { synctest.Wait() })
		if s := c.Stats(); err != nil || s.Failures == 0 || s.Fills != 20 {
			t.Errorf("error is %v, %+v", err, s)
		}
		// A run in which everything fails is an error to who waits for its segments.
		d, want = o.add(20*segment + 1)
		o.read = func(int64, []byte) (io.ReadCloser, error) { return nil, broken }
		if err := pass(t.Context(), c, d, want, 0, nothing); !errors.Is(err, broken) {
			t.Errorf("error is %v", err)
		}
	})
}

// The storm on an object four times the budget: each segment is read once, whatever the order in which the readers run.
func TestAConvoyReadsEachSegmentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // on a busy machine some readers would come when the others have gone on
		o := newOrigin()
		large, want := o.add(256*segment + 5)
		hot, small := o.add(3 * segment)
		c := newReaders(t, o)
		if err := pass(t.Context(), c, hot, small, 0, nothing); err != nil {
			t.Fatal(err)
		}
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				<-start
				if err := pass(t.Context(), c, large, want, 0, nothing); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		s := c.Stats()
		if s.OriginBytes != int64(len(want)+len(small)) || s.Expelled != 0 || s.Resident > s.Budget {
			t.Errorf("%d bytes were read for objects of %d: %+v", s.OriginBytes, len(want)+len(small), s)
		}
		if err := pass(t.Context(), c, hot, small, 0, nothing); err != nil {
			t.Fatal(err)
		}
		if again := c.Stats().OriginBytes - s.OriginBytes; again != 0 {
			t.Errorf("the storm pushed %d bytes of a small hot object out", again)
		}
	})
}

// Readers that come one by one while others are on their way go together: the object is read less than twice, not once for
// each.
func TestAConvoyGathersBehindAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		c := newReaders(t, o)
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				<-time.After(time.Duration(i) * 900 * time.Millisecond)
				if err := pass(t.Context(), c, d, want, 0, func(int64) { <-time.After(80 * time.Millisecond) }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// The second time some of it is still there, because nobody else needed the buffers.
		if s := c.Stats(); s.OriginBytes > 2*int64(len(want))-40*segment || s.Expelled != 0 {
			t.Errorf("%d bytes were read of an object of %d, %+v", s.OriginBytes, len(want), s)
		}
	})
}

// The foremost waits for the hindmost, for a second; then the hindmost goes on without the others.
func TestAConvoyLeavesTheSlowBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		c := newReaders(t, o)
		var wg sync.WaitGroup
		var took time.Duration
		begun := time.Now()
		wg.Go(func() {
			if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
				t.Error(err)
			}
			took = time.Since(begun)
		})
		wg.Go(func() {
			err := pass(t.Context(), c, d, want, 0, func(i int64) {
				if i == 3 {
					<-time.After(time.Minute)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if s := c.Stats(); s.Expelled != 1 || took != patience || s.OriginBytes > 2*int64(len(want)) {
			t.Errorf("the fast one took %v, %+v", took, s)
		}
	})
}

// A reader that leaves does not keep the others waiting, and one that waits can leave.
func TestRidersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		c := newReaders(t, o)
		gone := c.NewReader(d, int64(len(want)), 0, int64(len(want)))
		ctx, hangUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		begun := time.Now()
		wg.Go(func() {
			if err := pass(ctx, c, d, want, 0, nothing); !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v", err)
			}
		})
		wg.Go(func() {
			if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took != 500*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		})
		<-time.After(400 * time.Millisecond)
		hangUp()
		<-time.After(100 * time.Millisecond)
		gone.Close()
		wg.Wait()
		if s := c.Stats(); s.Expelled != 0 || len(c.convoys.list) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// More readers at different places than there are windows: all get their bytes.
func TestMoreStreamsThanConvoys(t *testing.T) {
	o := newOrigin()
	d, want := o.add(200 * segment)
	c := newReaders(t, o)
	var wg sync.WaitGroup
	for i := range int64(12) {
		wg.Go(func() {
			if err := pass(t.Context(), c, d, want, i*16, nothing); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Resident > s.Budget || len(c.convoys.list) != 0 {
		t.Errorf("%+v", s)
	}
}

// Readers that were left behind keep no window from readers that come.
func TestLateConvoysMakeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(256 * segment)
		size := int64(len(want))
		c := newReaders(t, o)
		// Readers that stop after a segment, each behind a fast one, are left behind and begin windows of their own.
		var slow []*Reader
		for i := range int64(maxConvoys) {
			r := c.NewReader(d, size, i*40*segment, size)
			slow = append(slow, r)
			for _, index := range []int64{i * 40, i*40 + 1} {
				if index == i*40+1 {
					fast := c.NewReader(d, size, i*40*segment, size)
					for j := i * 40; j < i*40+20; j++ {
						s, err := fast.Segment(t.Context(), j)
						if err != nil {
							t.Fatal(err)
						}
						s.Release()
					}
					fast.Close()
				}
				s, err := r.Segment(t.Context(), index)
				if err != nil {
					t.Fatal(err)
				}
				s.Release()
			}
		}
		late := 0
		for _, v := range c.convoys.list {
			if v.late {
				late++
			}
		}
		if late != maxConvoys || c.Stats().Expelled != maxConvoys {
			t.Fatalf("%d of %d convoys are late, %+v", late, len(c.convoys.list), c.Stats())
		}
		before := c.Stats().OriginBytes
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := c.Stats().OriginBytes - before; n > size {
			t.Errorf("%d bytes were read for an object of %d", n, size)
		}
		for _, r := range slow {
			r.Close()
		}
	})
}

// A window forgets as the cache does: what was damaged on the way is read anew.
func TestForgetInAConvoy(t *testing.T) {
	o := newOrigin()
	d, want := o.add(128 * segment)
	size := int64(len(want))
	c := newReaders(t, o)
	damaged := bytes.Clone(want[:segment])
	damaged[7] ^= 1
	o.read = func(int64, []byte) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(damaged)), nil }
	first := c.NewReader(d, size, 0, size)
	defer first.Close()
	s, err := first.Segment(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	o.read = nil
	c.Forget(d, size)
	if !bytes.Equal(s.Bytes(), damaged) {
		t.Error("a segment changed while it was held")
	}
	s.Release()
	if err := pass(t.Context(), c, d, want[:size], 0, func(i int64) {
		if i == 1 {
			first.Close()
		}
	}); err != nil {
		t.Error(err)
	}
}
