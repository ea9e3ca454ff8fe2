package lane_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/lane"
)

func TestFullLaneRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lane.New(lane.Config{Name: "cpu", Width: 1, Queue: 1, Wait: time.Minute})
		held := make(chan struct{})
		results := make(chan error, 2)
		for range 2 {
			go func() {
				results <- l.Do(t.Context(), func(context.Context) error { <-held; return nil })
			}()
		}
		synctest.Wait()
		var shed *lane.ShedError
		if err := l.Do(t.Context(), func(context.Context) error { return nil }); !errors.As(err, &shed) || shed.RetryAfter < time.Second {
			t.Fatalf("a third call: %v", err)
		}
		close(held)
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOwnWorkComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lane.New(lane.Config{Name: "cpu", Width: 1, Queue: 4, Wait: time.Minute})
		var order []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := l.Do(t.Context(), func(ctx context.Context) error {
				for range 3 {
					time.Sleep(2 * time.Millisecond)
					lane.Yield(ctx)
					order = append(order, "scan")
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Millisecond)
		_, leave, err := l.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, "refresh")
		leave()
		<-done
		if want := []string{"refresh", "scan", "scan", "scan"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}
