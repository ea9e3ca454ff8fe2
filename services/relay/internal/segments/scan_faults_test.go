package segments

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A scan that failed to read ahead reads again when a reader needs the segment. Only readers that wait for a read get its error.
func TestAScanFailsToReadAhead(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		c := newReaders(t, o)
		failures := 0
		o.read = func(offset int64, b []byte) (io.ReadCloser, error) { // called by the scan alone
			if offset == 40*segment && failures == 0 {
				failures++
				return nil, broken
			}
			return io.NopCloser(bytes.NewReader(b)), nil
		}
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				err := pass(t.Context(), c, d, want, 0, func(at int64) {
					if at == 30 {
						<-time.After(time.Duration(i) * time.Millisecond)
					}
					if at > 30 { // from here on segments are read before readers need them
						<-time.After(10 * time.Millisecond)
					}
				})
				if err != nil {
					t.Errorf("reader %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if s := c.Stats(); failures != 1 || s.Failures != 1 || s.OriginBytes != int64(len(want)) {
			t.Errorf("%d failures, %+v", failures, s)
		}
	})
}

// An error reaches the readers that wait for the read, and no others: the reader behind them has the segment read again.
func TestAScanFailsOnce(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		c := newReaders(t, o)
		failed := false
		o.read = func(offset int64, b []byte) (io.ReadCloser, error) {
			if offset == 40*segment && !failed {
				failed = true
				<-time.After(time.Second) // readers come to wait for the read
				return nil, broken
			}
			return io.NopCloser(bytes.NewReader(b)), nil
		}
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				err := pass(t.Context(), c, d, want, 0, func(at int64) {
					if i == 0 && at == 38 {
						<-time.After(1500 * time.Millisecond)
					}
				})
				if i == 0 && err != nil || i > 0 && !errors.Is(err, broken) {
					t.Errorf("reader %d: error is %v", i, err)
				}
			})
		}
		wg.Wait()
		if s := c.Stats(); s.Failures != 1 || s.OriginBytes != int64(len(want)) {
			t.Errorf("%+v", s)
		}
	})
}

// next reads segment index and checks its bytes.
func next(t *testing.T, r *Reader, want []byte, index int64) {
	t.Helper()
	s, err := r.Segment(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	if !bytes.Equal(s.Bytes(), want[index*segment:(index+1)*segment]) {
		t.Errorf("wrong bytes in segment %d", index)
	}
}

// Forget leaves no bytes in windows, however many scans it ends, and readers that go on receive the bytes that the origin has now.
func TestForgetEmptiesWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		size := int64(len(want))
		c := newReaders(t, o)
		damaged := make([]byte, size)
		o.read = func(offset int64, b []byte) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(damaged[offset : offset+int64(len(b))])), nil
		}
		var readers []*Reader
		for i := range int64(2 * maxScans) {
			r := c.NewReader(d, size, i*segment, size)
			defer r.Close()
			readers = append(readers, r)
			next(t, r, damaged, i)
			synctest.Wait()
			c.Forget(d, size)
			if n := c.arena.inUse(); n != 0 {
				t.Fatalf("%d buffers are in use after Forget %d", n, i)
			}
		}
		o.read = nil
		for i, r := range readers {
			next(t, r, want, int64(i)+1)
		}
		if n := c.Stats().Expelled; n != 0 {
			t.Errorf("%d readers were expelled", n)
		}
	})
}

// A scan follows no scan that Forget ended, and a reader that waits goes on after Forget.
func TestForgetDuringAFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		size := int64(len(want))
		c := newReaders(t, o)
		ahead := c.NewReader(d, size, 0, size) // stops there
		defer ahead.Close()
		for i := range int64(20) {
			next(t, ahead, want, i)
		}
		begun := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
				t.Error(err)
			}
		})
		<-time.After(time.Second)
		c.Forget(d, size)
		wg.Wait()
		if took := time.Since(begun); took != time.Second+gatherTime {
			t.Errorf("it took %v", took)
		}
	})
}

// Close ends scans with their goroutines, also those that failed and those of expelled readers, while readers are open.
func TestCloseDuringScans(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(128 * segment)
		size := int64(len(want))
		c := newReaders(t, o)
		expelled := c.NewReader(d, size, 0, size)
		next(t, expelled, want, 0)
		if err := pass(t.Context(), c, d, want, 0, nothing); err != nil {
			t.Fatal(err)
		}
		r := c.NewReader(d, size, segment, size)
		next(t, r, want, 1)
		next(t, expelled, want, 1)
		if expelled.scan == nil || expelled.scan != r.scan {
			t.Fatal("an expelled reader is not in the scan whose window has its segment")
		}
		r.Close() // the scan goes on with the expelled reader alone
		synctest.Wait()
		o.read = func(int64, []byte) (io.ReadCloser, error) { return nil, broken }
		failed := c.NewReader(d, size, 60*segment, size)
		if _, err := failed.Segment(t.Context(), 60); !errors.Is(err, broken) {
			t.Errorf("error is %v", err)
		}
		o.read = func(int64, []byte) (io.ReadCloser, error) {
			<-time.After(time.Second)
			return nil, broken
		}
		waits := c.NewReader(d, size, 100*segment, size)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := waits.Segment(t.Context(), 100); err == nil {
				t.Error("there is no error from a cache that is closed")
			}
		})
		synctest.Wait()
		c.Close()
		wg.Wait()
		if n := len(c.scans.list); n != 0 {
			t.Errorf("there are %d scans", n)
		}
	})
}
