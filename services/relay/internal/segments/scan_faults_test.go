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
