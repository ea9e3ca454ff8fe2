package beacon

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/store"
)

const (
	// journalsPerRound is how many datasets' newest journal entries one round reads. The other datasets keep the number of an earlier round.
	journalsPerRound = 256
	// journalsWithin is the part of a period that a round waits for them. A store that hangs must delay no beacon.
	journalsWithin = 4
	// journalReads is how many of them are read concurrently.
	journalReads = 8
)

// journals are the newest journal entries by dataset, as of the last read of each. A round reads those of journalsPerRound datasets in
// turn. So the cost of a round is bounded, and an instance learns from beacons of an entry that it missed: after a period with up to
// journalsPerRound journals, and after two with twice as many.
type journals struct {
	known   map[string]uint64      // as of the last read that ended
	running chan map[string]uint64 // receives the result of the read that has not ended; nil if there is none

	// Only the read that runs uses the following fields.

	newest map[string]uint64
	last   string // the last dataset read
}

// read returns the newest journal entries. It leaves out what cannot be read: a beacon must not fail because of it. After patience it
// returns those of the read before.
func (j *journals) read(ctx context.Context, st store.Store, patience time.Duration) map[string]uint64 {
	if j.running == nil {
		result := make(chan map[string]uint64, 1)
		j.running = result
		go func() {
			var newest map[string]uint64
			_ = guard.Try(func() error { newest = j.scan(ctx, st); return nil })
			result <- newest
		}()
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case j.known = <-j.running:
		j.running = nil
	case <-timer.C:
	}
	return j.known
}

func (j *journals) scan(ctx context.Context, st store.Store) map[string]uint64 {
	names, err := st.Journals(ctx)
	if err != nil {
		return nil
	}
	was := j.newest
	j.newest = make(map[string]uint64, len(names))
	for _, name := range names {
		if number := was[name]; number > 0 {
			j.newest[name] = number
		}
	}
	next := j.turn(names)
	numbers := make([]uint64, len(next))
	var running sync.WaitGroup
	slots := make(chan struct{}, journalReads)
	for i, name := range next {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			_ = guard.Try(func() (err error) {
				numbers[i], err = st.NewestEntry(ctx, name)
				return err
			})
		})
	}
	running.Wait()
	for i, name := range next {
		if numbers[i] > 0 {
			j.newest[name] = numbers[i]
		}
	}
	return maps.Clone(j.newest) // the next read changes it
}

// turn returns the next names to read, after the last ones.
func (j *journals) turn(names []string) []string {
	begin, found := slices.BinarySearch(names, j.last)
	if found {
		begin++
	}
	next := slices.Concat(names[begin:], names[:begin])
	if next = next[:min(len(next), journalsPerRound)]; len(next) > 0 {
		j.last = next[len(next)-1]
	}
	return next
}
