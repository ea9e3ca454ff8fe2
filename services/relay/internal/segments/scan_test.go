package segments

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// newReaders returns a cache of 64 segments that reads ahead. Its scans have windows of 8 segments, for objects above 52.
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

// In a storm on an object four times the budget each segment is read once, whatever the order in which the readers run.
func TestAScanReadsEachSegmentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in real time, readers on a busy machine would be too late for the scan
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

// Readers that come one by one while a scan is in progress gather in the next one: the object is read twice, not once for each.
func TestReadersGatherBehindAScan(t *testing.T) {
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
		if s := c.Stats(); s.OriginBytes > 2*int64(len(want)) || s.Expelled != 0 {
			t.Errorf("%d bytes were read of an object of %d, %+v", s.OriginBytes, len(want), s)
		}
	})
}

// A scan waits for its last reader, but not for long; then that reader reads on alone.
func TestASlowReaderIsExpelled(t *testing.T) {
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
		if s := c.Stats(); s.Expelled != 1 || took != gatherTime+patience || s.OriginBytes > 2*int64(len(want)) {
			t.Errorf("the fast reader took %v, %+v", took, s)
		}
	})
}

// A reader that leaves does not hold up the others, and a reader can leave while it waits.
func TestReadersLeave(t *testing.T) {
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
		if s := c.Stats(); s.Expelled != 0 || len(c.scans.list) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// More readers at different places than there may be scans: all get their bytes.
func TestMoreReadersThanScans(t *testing.T) {
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
	if s := c.Stats(); s.Resident > s.Budget || len(c.scans.list) != 0 {
		t.Errorf("%+v", s)
	}
}

// Slow readers, each in a scan of its own, hold no window that readers in step need.
func TestScansOfOneReaderMakePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(256 * segment)
		size := int64(len(want))
		c := newReaders(t, o)
		var slow []*Reader
		next := func(r *Reader, index int64) {
			t.Helper()
			s, err := r.Segment(t.Context(), index)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(s.Bytes(), want[index*segment:(index+1)*segment]) {
				t.Errorf("wrong bytes in segment %d", index)
			}
			s.Release()
		}
		place := func(i int) int64 { return 20 + int64(i)*40 }
		for i := range maxScans {
			slow = append(slow, c.NewReader(d, size, place(i)*segment, size))
			next(slow[i], place(i))
		}
		synctest.Wait()
		if n := len(c.scans.list); n != maxScans {
			t.Fatalf("there are %d scans, want %d", n, maxScans)
		}
		<-time.After(gatherTime)
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
		if n := c.Stats().Expelled; n != 1 {
			t.Errorf("%d readers were expelled for one scan", n)
		}
		for i, r := range slow {
			next(r, place(i)+1)
			r.Close()
		}
	})
}

// A scan whose read fails is an error of its readers, and of no reader that comes later.
func TestAScanFails(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		c := newReaders(t, o)
		o.read = func(offset int64, b []byte) (io.ReadCloser, error) {
			if offset >= 40*segment {
				return nil, broken
			}
			return io.NopCloser(bytes.NewReader(b)), nil
		}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := pass(t.Context(), c, d, want, 0, nothing); !errors.Is(err, broken) {
					t.Errorf("error is %v", err)
				}
			})
		}
		wg.Wait()
		o.read = nil
		if err := pass(t.Context(), c, d, want, 40, nothing); err != nil {
			t.Error(err)
		}
	})
}

// The cache keeps the head of an object that does not fit in places that no other object uses. A new version takes the head over.
func TestScansKeepTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		c := newReaders(t, o)
		large, much := o.add(60 * segment)
		next, more := o.add(60*segment + 1)
		small, some := o.add(20 * segment)
		expect := func(what string, d dataset.Digest, want []byte, n int64) {
			t.Helper()
			was := c.Stats().OriginBytes
			if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if read := c.Stats().OriginBytes - was; read != n {
				t.Errorf("%s: %d bytes were read from the origin, want %d", what, read, n)
			}
		}
		expect("first scan", large, much, 60*segment)
		expect("second scan", large, much, 8*segment)
		expect("third scan", large, much, 8*segment)
		expect("next version", next, more, 60*segment+1)
		expect("next version again", next, more, 8*segment+1)
		expect("small object", small, some, 20*segment)
		expect("small object again", small, some, 0)
		expect("scan next to a small object", next, more, 28*segment+1)
		expect("small object after a scan", small, some, 0)
		if s := c.Stats(); s.Busy != 0 || s.Resident > s.Budget {
			t.Errorf("%+v", s)
		}
	})
}

// What Forget removes is not read from the window of a scan either.
func TestForgetDuringAScan(t *testing.T) {
	o := newOrigin()
	d, want := o.add(128 * segment)
	size := int64(len(want))
	c := newReaders(t, o)
	damaged := bytes.Clone(want)
	damaged[7] ^= 1
	var healed atomic.Bool
	o.read = func(offset int64, b []byte) (io.ReadCloser, error) {
		if !healed.Load() {
			b = damaged[offset : offset+int64(len(b))]
		}
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	first := c.NewReader(d, size, 0, size)
	defer first.Close()
	s, err := first.Segment(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	healed.Store(true)
	c.Forget(d, size)
	if !bytes.Equal(s.Bytes(), damaged[:segment]) {
		t.Error("a segment changed while it was held")
	}
	s.Release()
	if err := pass(t.Context(), c, d, want, 0, func(i int64) {
		if i == 1 {
			first.Close()
		}
	}); err != nil {
		t.Error(err)
	}
}
