package dir_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
)

// ending is a context that ends after a number of calls of Err.
type ending struct {
	context.Context
	left atomic.Int64
}

func (e *ending) Err() error {
	if e.left.Add(-1) < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// A few calls read a folder with more datasets than one call has time for.
func TestNewestContinuesWhereItEnded(t *testing.T) {
	s := open(t, t.TempDir())
	const datasets = 300
	for i := range datasets {
		rec := record(1)
		rec.Dataset = fmt.Sprintf("dataset-%03d", i)
		if err := s.PutVersion(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	read := map[string]bool{}
	calls := 0
	for ; len(read) < datasets && calls < 100; calls++ {
		ctx := &ending{Context: t.Context()}
		ctx.left.Store(100)
		newest, unread, err := s.Newest(ctx)
		if err != nil || len(newest)+len(unread) != datasets {
			t.Fatalf("%d newest, %d unread, %v", len(newest), len(unread), err)
		}
		for name := range newest {
			read[name] = true
		}
	}
	if len(read) < datasets || calls < 2 {
		t.Errorf("after %d calls %d of %d datasets were read", calls, len(read), datasets)
	}
}
