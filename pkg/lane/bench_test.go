package lane_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"freshet.dev/pkg/lane"
)

// BenchmarkYield measures Yield in a loop that is shorter than a millisecond, against the calls that it consists of.
func BenchmarkYield(b *testing.B) {
	b.Run("lane", func(b *testing.B) {
		if err := narrow(0).Do(b.Context(), func(ctx context.Context) error {
			for b.Loop() {
				lane.Yield(ctx)
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("time.Since", func(b *testing.B) {
		began := time.Now()
		for b.Loop() {
			_ = time.Since(began)
		}
	})
	b.Run("runtime.Gosched", func(b *testing.B) {
		for b.Loop() {
			runtime.Gosched()
		}
	})
}

// BenchmarkDo measures calls of a lane that has a place, against a channel as a semaphore.
func BenchmarkDo(b *testing.B) {
	nothing := func(context.Context) error { return nil }
	b.Run("Do", func(b *testing.B) {
		l, ctx := narrow(0), b.Context()
		b.ReportAllocs()
		for b.Loop() {
			_ = l.Do(ctx, nothing)
		}
	})
	b.Run("Enter", func(b *testing.B) {
		l, ctx := narrow(0), b.Context()
		b.ReportAllocs()
		for b.Loop() {
			_, leave, _ := l.Enter(ctx)
			leave()
		}
	})
	b.Run("channel", func(b *testing.B) {
		semaphore, ctx := make(chan struct{}, 1), b.Context()
		for b.Loop() {
			select {
			case semaphore <- struct{}{}:
				_ = nothing(ctx)
				<-semaphore
			case <-ctx.Done():
			}
		}
	})
}
