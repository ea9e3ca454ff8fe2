package segments

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
)

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
		// A second reader, with one segment of the middle gone, reads that one alone.
		c.kept.Invalidate(place{d, 20 * segment, 9})
		if err := pass(t.Context(), c, d, want, 0, func(int64) { synctest.Wait() }); err != nil {
			t.Fatal(err)
		}
		if s := c.Stats(); s.Fills != 21 || s.OriginReads != 8 {
			t.Errorf("the second time: %+v", s)
		}
	})
}

// A reader of a part reads nothing that lies behind its end.
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

// A run that fails half-way returns the segments before the failure, and the failure is not remembered.
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
		// A run that fails at its begin is an error of every caller that waits for one of its segments.
		d, want = o.add(20*segment + 1)
		o.read = func(int64, []byte) (io.ReadCloser, error) { return nil, broken }
		if err := pass(t.Context(), c, d, want, 0, nothing); !errors.Is(err, broken) {
			t.Errorf("error is %v", err)
		}
	})
}
