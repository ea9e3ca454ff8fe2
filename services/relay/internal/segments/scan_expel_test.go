package segments

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An expelled reader reads from the window of a later scan, which does not wait for it.
func TestAnExpelledReaderReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		size := int64(len(want))
		c := newReaders(t, o)
		expelled := c.NewReader(d, size, 0, size)
		defer expelled.Close()
		next(t, expelled, want, 0)
		if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
			t.Fatal(err)
		}
		if n := c.Stats().Expelled; n != 1 {
			t.Fatalf("%d readers were expelled", n)
		}
		for i := int64(1); i < 40; i++ {
			next(t, expelled, want, i)
		}
		if n := c.Stats().OriginBytes - size; n != 0 {
			t.Errorf("%d bytes were read again for a reader of the head, which the cache keeps", n)
		}
		before := c.Stats().OriginBytes
		begun := time.Now()
		var wg sync.WaitGroup
		arrived := make(chan struct{})
		wg.Go(func() {
			err := pass(t.Context(), c, d, want, 0, func(i int64) {
				if i == 40 {
					close(arrived)
				}
				if i >= 40 {
					<-time.After(10 * time.Millisecond)
				}
			})
			if err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took != gatherTime+88*10*time.Millisecond {
				t.Errorf("the scan took %v", took)
			}
		})
		<-arrived
		for i := int64(40); i < 100; i++ {
			next(t, expelled, want, i)
		}
		<-time.After(time.Minute) // expelled stops, and the scan does not wait
		wg.Wait()
		if n, rest := c.Stats().OriginBytes-before, size-c.capacity; n != rest {
			t.Errorf("%d bytes were read for two readers, want the %d behind the head", n, rest)
		}
		before = c.Stats().OriginBytes
		next(t, expelled, want, 100) // it starts no scan
		synctest.Wait()
		if n := c.Stats().OriginBytes - before; n > segment || len(c.scans.list) != 0 {
			t.Errorf("%d bytes were read for a segment of %d; there are %d scans", n, segment, len(c.scans.list))
		}
		if n := c.Stats().Expelled; n != 1 {
			t.Errorf("%d readers were expelled", n)
		}
	})
}

// A new scan replaces the oldest one of a single reader, and none that still gathers readers.
func TestTheOldestScanOfOneReaderIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(256 * segment)
		size := int64(len(want))
		c := newReaders(t, o)
		var readers []*Reader
		add := func(i int64) *Reader {
			t.Helper()
			r := c.NewReader(d, size, i*segment, size)
			t.Cleanup(r.Close)
			readers = append(readers, r)
			next(t, r, want, i)
			synctest.Wait()
			return r
		}
		for i := range int64(maxScans) {
			add(i * 40)
		}
		late := add(200)
		if n := c.Stats().Expelled; n != 0 || late.scan != nil {
			t.Errorf("%d readers were expelled from scans that gather", n)
		}
		<-time.After(gatherTime)
		next(t, late, want, 201)
		synctest.Wait()
		add(230)
		for i, r := range readers {
			if r.expelled != (i < 2) || (r.scan == nil) != (i < 2) {
				t.Errorf("reader %d: expelled is %v, scan is %p", i, r.expelled, r.scan)
			}
		}
	})
}

// newSteps returns a cache that does not read ahead. Its scans have windows of 16 segments and read one at a time.
func newSteps(t *testing.T, o *origin) *Cache {
	t.Helper()
	c, err := New(Config{Bytes: 128 * segment, SegmentBytes: segment, TTL: time.Minute, OriginReads: 4, OriginTimeout: 10 * time.Second}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A reader that drips does not hold the others to its pace: it reads a quarter of a window within patience, however little one
// read of the origin needs.
func TestADrippingReaderIsExpelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(160 * segment)
		c := newSteps(t, o)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := pass(t.Context(), c, d, want, 0, func(int64) { <-time.After(patience / 2) }); err != nil {
				t.Error(err)
			}
		})
		for range 5 {
			wg.Go(func() {
				begun := time.Now()
				if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took != gatherTime+patience {
					t.Errorf("a fast reader took %v", took)
				}
			})
		}
		wg.Wait()
		if n := c.Stats().Expelled; n != 1 {
			t.Errorf("%d readers were expelled", n)
		}
	})
}

// A slow reader that reads a quarter of a window within patience stays, and the window follows it without delay.
func TestASteadyReaderStays(t *testing.T) {
	for _, pause := range []time.Duration{patience / 5, patience / 50} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrigin()
			d, want := o.add(160 * segment)
			c := newSteps(t, o)
			begun := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := pass(t.Context(), c, d, want, 0, func(int64) { <-time.After(pause) }); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took != 160*pause {
					t.Errorf("the slow reader took %v, want %v", took, 160*pause)
				}
			})
			wg.Go(func() {
				if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			if s := c.Stats(); s.Expelled != 0 || s.OriginBytes != int64(len(want)) {
				t.Errorf("%+v", s)
			}
		})
	}
}
