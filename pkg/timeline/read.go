package timeline

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

const (
	// pageEvents is how many records of a sequence are read at a time; heldEvents bounds those of all sequences together, but for one each.
	pageEvents = 64
	heldEvents = 1024
	// parallelReads is how many sequences are read at a time.
	parallelReads = 16
	// clockSlack is how far the clocks of publishers may differ: the search for the first event since a time goes back so much further.
	clockSlack = 5 * time.Minute
)

// ErrQuery is returned by Read for a query that has no answer; the error says what to do.
var ErrQuery = errors.New("the events cannot be read")

// Query selects events. Only one of Since, FromVersion and After may be set; without any, the events from the first on are selected.
type Query struct {
	// Dataset is the name of a dataset; empty selects all datasets.
	Dataset string
	// Since selects, of each sequence, the events from the first one that is not older on. The clocks of publishers may differ by five
	// minutes.
	Since time.Time
	// FromVersion selects the versions from that one on, and the journal entries since its time. It requires a Dataset.
	FromVersion uint64
	// After selects the events after those positions. It is not nil, but may be empty.
	After Positions
	// Limit is the most events; 0 means all.
	Limit int
}

func (q Query) check() error {
	given := 0
	for _, is := range []bool{!q.Since.IsZero(), q.FromVersion > 0, q.After != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return fmt.Errorf("%w: give one of a time, a first version and a cursor", ErrQuery)
	case q.FromVersion > 0 && q.Dataset == "":
		return fmt.Errorf("%w: a first version requires a dataset; name one", ErrQuery)
	case q.Limit < 0:
		return fmt.Errorf("%w: the limit is %d; it cannot be negative", ErrQuery, q.Limit)
	}
	if q.Dataset != "" {
		if err := dataset.CheckName(q.Dataset); err != nil {
			return fmt.Errorf("%w: %w", ErrQuery, err)
		}
	}
	return nil
}

// Reader reads the events of a store. It is safe for concurrent use.
type Reader struct{ store store.Store }

// NewReader returns a Reader of st. The caller closes st.
func NewReader(st store.Store) *Reader { return &Reader{st} }

// Read calls yield for each event that q selects and that the store had at the start of the call, in order. It returns the positions
// after the last event, and whether there are more, because q.Limit was reached. It holds a bounded number of records in memory.
//
// It returns [ErrQuery], [store.ErrNotFound] if there is no such dataset or version, the error of yield, or one of the store. The
// positions are then nil.
func (r *Reader) Read(ctx context.Context, q Query, yield func(Event) error) (after Positions, more bool, err error) {
	if err := q.check(); err != nil {
		return nil, false, err
	}
	sequences, err := r.sequences(ctx, q)
	if err != nil {
		return nil, false, fmt.Errorf("read the events: %w", err)
	}
	if err := r.begin(ctx, q, sequences); err != nil {
		return nil, false, fmt.Errorf("read the events: %w", err)
	}
	after = Positions{}
	for _, s := range sequences {
		s.record(after)
	}
	page := max(1, min(pageEvents, heldEvents/max(1, len(sequences))))
	if err := each(ctx, len(sequences), func(ctx context.Context, i int) error { return sequences[i].fill(ctx, page) }); err != nil {
		return nil, false, fmt.Errorf("read the events: %w", err)
	}
	heads := merge{}
	for _, s := range sequences {
		if len(s.page) > 0 {
			heads = append(heads, s)
		}
	}
	heap.Init(&heads)
	for n := 0; len(heads) > 0; n++ {
		if q.Limit > 0 && n == q.Limit {
			return after, true, nil
		}
		s := heads[0]
		if err := yield(s.page[0]); err != nil {
			return nil, false, err
		}
		s.page = s.page[1:]
		s.record(after)
		if err := s.fill(ctx, page); err != nil {
			return nil, false, fmt.Errorf("read the events: %w", err)
		}
		if len(s.page) == 0 {
			heap.Pop(&heads)
		} else {
			heap.Fix(&heads, 0)
		}
	}
	return after, false, nil
}

// sequences returns the sequences of the datasets that q selects: the versions and the journal of each.
func (r *Reader) sequences(ctx context.Context, q Query) ([]*sequence, error) {
	versions, entries, err := r.newest(ctx, q.Dataset)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for name := range versions {
		names[name] = true
	}
	for name := range entries {
		names[name] = true
	}
	var all []*sequence
	for name := range names {
		all = append(all,
			&sequence{dataset: name, newest: versions[name], read: r.versions(name), at: func(p *Position) *uint64 { return &p.Version }},
			&sequence{dataset: name, newest: entries[name], read: r.entries(name), at: func(p *Position) *uint64 { return &p.Entry }, journal: true})
	}
	slices.SortFunc(all, func(a, b *sequence) int { return cmp.Or(cmp.Compare(a.dataset, b.dataset), a.rank()-b.rank()) })
	return all, nil
}

// newest returns the numbers of the newest version and the newest journal entry of the dataset, or of all datasets if name is empty.
func (r *Reader) newest(ctx context.Context, name string) (versions, entries map[string]uint64, err error) {
	versions, entries = map[string]uint64{}, map[string]uint64{}
	journals := []string{name}
	if name != "" {
		if versions[name], err = store.NewestVersion(ctx, r.store, name); err != nil {
			return nil, nil, err
		}
	} else {
		newest, unread, err := r.store.Newest(ctx)
		if err != nil {
			return nil, nil, err
		}
		for name, ref := range newest {
			versions[name] = ref.Version
		}
		for name, err := range unread {
			damaged, ok := errors.AsType[*store.RecordError](err)
			if !ok {
				return nil, nil, fmt.Errorf("dataset %s: %w", name, err)
			}
			versions[name] = damaged.Version
		}
		if journals, err = r.store.Journals(ctx); err != nil {
			return nil, nil, err
		}
	}
	numbers := make([]uint64, len(journals))
	if err := each(ctx, len(journals), func(ctx context.Context, i int) (err error) {
		numbers[i], err = r.store.NewestEntry(ctx, journals[i])
		return err
	}); err != nil {
		return nil, nil, err
	}
	for i, name := range journals {
		entries[name] = numbers[i]
	}
	if name != "" && versions[name] == 0 && entries[name] == 0 {
		return nil, nil, fmt.Errorf("dataset %s has neither a version nor a journal: %w %s", name, store.ErrNotFound, r.store)
	}
	return versions, entries, nil
}

// begin sets the first event of each sequence.
func (r *Reader) begin(ctx context.Context, q Query, sequences []*sequence) error {
	since := q.Since
	if q.FromVersion > 0 {
		rec, err := r.store.Version(ctx, q.Dataset, q.FromVersion)
		lost := errors.Is(err, store.ErrNotFound) && slices.ContainsFunc(sequences, func(s *sequence) bool { return !s.journal && q.FromVersion <= s.newest })
		if err != nil && !lost && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		since = rec.Created // zero if the record is damaged or lost: then all entries are selected
	}
	return each(ctx, len(sequences), func(ctx context.Context, i int) error {
		s := sequences[i]
		switch {
		case q.After != nil:
			at := q.After[s.dataset]
			s.next = min(*s.at(&at), s.newest) + 1 // a store that was restored from an older copy continues at its newest
		case q.FromVersion > 0 && !s.journal:
			s.next = q.FromVersion
		case !since.IsZero():
			return s.seek(ctx, since)
		default:
			s.next = 1
		}
		return nil
	})
}

// each calls f for 0 to n-1, several at a time: a read of an S3 store takes milliseconds. It returns the first error, which ends the
// context of the others.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	p := pool.New().WithMaxGoroutines(parallelReads).WithContext(ctx).WithCancelOnError().WithFirstError()
	for i := range n {
		p.Go(func(ctx context.Context) error { return f(ctx, i) })
	}
	return p.Wait()
}
