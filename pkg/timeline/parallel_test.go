package timeline_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/timeline"
)

// together is a store whose reads of the number of a journal's newest entry wait for each other.
type together struct {
	store.Store
	all *sync.WaitGroup
}

func (s together) NewestEntry(ctx context.Context, name string) (uint64, error) {
	s.all.Done()
	met := make(chan struct{})
	go func() { s.all.Wait(); close(met) }()
	select {
	case <-met:
		return s.Store.NewestEntry(ctx, name)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// The journals of many datasets are read at the same time: one after the other, a thousand would take seconds in S3.
func TestJournalsAreReadTogether(t *testing.T) {
	const journals = 8
	h := newHistory(t)
	for i := range journals {
		h.entry(fmt.Sprint("prices-", i), 1, float64(i))
	}
	var all sync.WaitGroup
	all.Add(journals)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n := 0
	_, _, err := timeline.NewReader(together{h.st, &all}).Read(ctx, timeline.Query{}, func(e timeline.Event) error { n++; return nil })
	if err != nil || n != journals {
		t.Fatalf("%d events, %v", n, err)
	}
}
