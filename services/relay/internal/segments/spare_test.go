package segments

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// read passes through the object and returns how many of its segments were read from the origin for it.
func read(t *testing.T, c *Cache, d dataset.Digest, want []byte) int64 {
	t.Helper()
	before := c.Stats().OriginBytes
	if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
		t.Fatal(err)
	}
	return (c.Stats().OriginBytes - before + segment - 1) / segment
}

// Who comes when all others have gone finds of an object too large for the cache what there was room for.
func TestWhatAConvoyLeavesBehindIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128*segment - 5)
		c := newReaders(t, o)
		if n := read(t, c, d, want); n != 128 {
			t.Fatalf("%d segments were read at first", n)
		}
		for range 5 { // also in the long run: a ring would push out what comes next, each time
			if n := read(t, c, d, want); n > 128-40 {
				t.Errorf("%d segments were read although 40 of 64 buffers were free", n)
			}
		}
		if s := c.Stats(); s.Resident > s.Budget || s.Busy != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What is spare takes nothing from what the cache keeps, neither what is there nor what comes.
func TestSpareSegmentsMakeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		c := newReaders(t, o)
		large, much := o.add(200 * segment)
		before, some := o.add(20 * segment)
		after, more := o.add(20 * segment)
		read(t, c, before, some)
		read(t, c, large, much)
		read(t, c, after, more)
		if n := read(t, c, before, some) + read(t, c, after, more); n != 0 {
			t.Errorf("%d segments of objects that fit were read again", n)
		}
		if s := c.Stats(); s.Evicted != 0 || s.Busy != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What nobody asks for any more makes room for another large object, and goes at the end of its time.
func TestSpareSegmentsThatNobodyUsesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		c := newReaders(t, o)
		old, one := o.add(128 * segment)
		current, other := o.add(128 * segment)
		read(t, c, old, one)
		<-time.After(time.Second)
		read(t, c, current, other)
		if n := read(t, c, current, other); n > 128-40 {
			t.Errorf("%d segments were read again while those of an object that nobody asks for were kept", n)
		}

		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.Run(ctx) })
		<-time.After(2 * time.Minute)
		if n := c.arena.inUse(); n != 0 {
			t.Errorf("%d buffers are in use after the time to live", n)
		}
		stop()
		wg.Wait()
	})
}

// What was damaged on the way is not spare either.
func TestForgetWhatIsSpare(t *testing.T) {
	o := newOrigin()
	d, want := o.add(128 * segment)
	c := newReaders(t, o)
	damaged := bytes.Clone(want)
	damaged[7] ^= 1
	o.read = func(offset int64, b []byte) (io.ReadCloser, error) {
		b = damaged[offset : offset+int64(len(b))]
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	read(t, c, d, damaged)
	o.read = nil
	if n := read(t, c, d, damaged); n == 128 {
		t.Fatal("nothing was spare")
	}
	c.Forget(d, int64(len(want)))
	read(t, c, d, want)
}
