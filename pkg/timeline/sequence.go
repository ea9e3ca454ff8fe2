package timeline

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"freshet.dev/pkg/store"
)

// sequence is one read of the versions or of the journal of a dataset, in the order of the numbers.
type sequence struct {
	dataset string
	journal bool
	newest  uint64 // the last number to read
	next    uint64 // the number after those that were read
	page    []Event
	last    time.Time // of the last event that was read
	// read returns the events from the number from on, n of them, in order, damaged ones included.
	read func(ctx context.Context, from uint64, n int) ([]Event, error)
	// at returns the sequence's part of a position.
	at func(*Position) *uint64
}

// rank orders a dataset's versions before its journal.
func (s *sequence) rank() int {
	if s.journal {
		return 1
	}
	return 0
}

// record records the position after the events that were passed on.
func (s *sequence) record(in Positions) {
	at := in[s.dataset]
	*s.at(&at) = s.next - 1
	if len(s.page) > 0 {
		*s.at(&at) = s.page[0].number() - 1
	}
	in[s.dataset] = at
}

// fill reads the next page if the current one is empty.
func (s *sequence) fill(ctx context.Context, size int) error {
	if len(s.page) > 0 || s.next > s.newest {
		return nil
	}
	page, err := s.events(ctx, s.next, int(min(uint64(size), s.newest-s.next+1)))
	if err != nil {
		return err
	}
	for i := range page {
		if page[i].Damaged != nil {
			page[i].Time = s.last
		}
		s.last = page[i].Time
	}
	s.page, s.next = page, s.next+uint64(len(page))
	return nil
}

// errReplaced is returned when the store has no longer a record that it had at the start of the read.
var errReplaced = errors.New("the store was replaced during the read; read the events again")

// events returns the events from the number from on, exactly n of them.
func (s *sequence) events(ctx context.Context, from uint64, n int) ([]Event, error) {
	page, err := s.read(ctx, from, n)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(page, func(a, b Event) int { return cmp.Compare(a.number(), b.number()) })
	for i, e := range page {
		if e.number() != from+uint64(i) {
			return nil, errReplaced
		}
	}
	if len(page) != n {
		return nil, errReplaced
	}
	return page, nil
}

// seek sets the first event to the oldest one that is not older than since. It reads backward, and ends at an event that is older by more
// than clocks may differ.
func (s *sequence) seek(ctx context.Context, since time.Time) error {
	s.next = s.newest + 1
	for below, size := s.newest, 1; below > 0; size = min(2*size, pageEvents) {
		n := int(min(uint64(size), below))
		from := below - uint64(n) + 1
		page, err := s.events(ctx, from, n)
		if err != nil {
			return err
		}
		for _, e := range slices.Backward(page) {
			switch {
			case e.Damaged != nil:
			case e.Time.Before(since.Add(-clockSlack)):
				return nil
			case !e.Time.Before(since):
				s.next = e.number()
			}
		}
		below = from - 1
	}
	return nil
}

// versions returns the reader of a dataset's versions.
func (r *Reader) versions(name string) func(ctx context.Context, from uint64, n int) ([]Event, error) {
	return func(ctx context.Context, from uint64, n int) ([]Event, error) {
		records, err := r.store.Versions(ctx, name, from+uint64(n), n)
		damaged, ok := errors.AsType[store.RecordErrors](err)
		if err != nil && !ok {
			return nil, err
		}
		var page []Event
		for _, rec := range records {
			page = append(page, ofVersion(rec))
		}
		for _, d := range damaged {
			page = append(page, Event{Dataset: name, Damaged: &Damage{Dataset: name, Version: d.Version, Detail: d.Error()}})
		}
		return page, nil
	}
}

// entries returns the reader of a dataset's journal.
func (r *Reader) entries(name string) func(ctx context.Context, from uint64, n int) ([]Event, error) {
	return func(ctx context.Context, from uint64, n int) ([]Event, error) {
		entries, err := r.store.Entries(ctx, name, from, n)
		damaged, ok := errors.AsType[store.EntryErrors](err)
		if err != nil && !ok {
			return nil, err
		}
		var page []Event
		for _, e := range entries {
			page = append(page, ofEntry(e))
		}
		for _, d := range damaged {
			page = append(page, Event{Dataset: name, Damaged: &Damage{Dataset: name, Entry: d.Number, Detail: d.Error()}})
		}
		return page, nil
	}
}

// merge is a heap of the sequences by the times of their first events.
type merge []*sequence

func (m merge) Len() int { return len(m) }

func (m merge) Less(i, j int) bool {
	a, b := m[i], m[j]
	return cmp.Or(a.page[0].Time.Compare(b.page[0].Time), cmp.Compare(a.dataset, b.dataset), a.rank()-b.rank()) < 0
}

func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }

// Push implements [heap.Interface].
func (m *merge) Push(x any) { *m = append(*m, x.(*sequence)) }

// Pop implements [heap.Interface].
func (m *merge) Pop() any {
	old := *m
	last := old[len(old)-1]
	*m = old[:len(old)-1]
	return last
}
