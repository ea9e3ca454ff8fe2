package keep

import (
	"context"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/hold"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/store"
)

const (
	// sweepObjects is how many objects a sweep names.
	sweepObjects = 1000
	// maxRanges bounds the ranges of versions in a journal entry, which has at most dataset.MaxEntryBytes.
	maxRanges = 500
)

// run is one run of a Collector.
type run struct {
	*Collector
	request Request
	plan    *plan
	report  *Report
	// owner has the dataset of each object that only versions name that are not kept, as an index in plan.datasets.
	owner map[key]int
	frees map[int]*Sum            // by dataset
	swept map[int]dataset.Removal // by dataset
}

// owners returns the datasets of the objects that only versions name that are not kept. If name is not empty, it returns those of that
// dataset.
func (p *plan) owners(name string) map[key]int {
	owner := map[key]int{}
	for i, d := range p.datasets {
		if name != "" && d.name != name {
			continue
		}
		needed := p.needed
		if d.unset {
			needed = d.keptKeys
		}
		for _, f := range d.free {
			for _, k := range f.keys {
				if _, ok := needed[k]; !ok {
					owner[k] = i
				}
			}
		}
	}
	return owner
}

// selected reports whether the request is about the object.
func (r *run) selected(d dataset.Digest) bool {
	if r.request.Dataset == "" {
		return true
	}
	_, ok := r.owner[keyOf(d)]
	return ok
}

// sweep removes the objects that were marked long enough ago and are not needed.
func (r *run) sweep(ctx context.Context) error {
	notes, err := r.deps.Store.Notes(ctx, markPrefix)
	if err != nil {
		return fmt.Errorf("list the marks: %w", err)
	}
	for _, note := range notes {
		if age := r.plan.now.Sub(note.Modified); age < r.request.Grace {
			continue
		}
		list, err := r.readMarks(ctx, note.Name)
		if err != nil {
			return err
		}
		var due, rest []mark
		for _, m := range list {
			switch {
			case r.plan.needed.has(m.Digest):
				r.report.Spared.add(m.Bytes)
			case r.selected(m.Digest):
				due = append(due, m)
			default:
				rest = append(rest, m)
			}
		}
		for len(due) > 0 {
			n := min(len(due), sweepObjects)
			done, err := r.remove(ctx, due[:n])
			if err != nil {
				return err
			}
			due = due[done:]
		}
		if len(rest) > 0 {
			continue // of other datasets: their marks stay
		}
		if err := r.deps.Store.DropNote(ctx, note.Name); err != nil {
			return fmt.Errorf("drop marks: %w", err)
		}
	}
	return nil
}

// remove removes those of the marked objects that are not needed and not held, and returns how many of the marks are done with.
func (r *run) remove(ctx context.Context, list []mark) (done int, err error) {
	digests := make([]dataset.Digest, len(list))
	for i, m := range list {
		digests[i] = m.Digest
	}
	sweep, held, err := hold.Begin(ctx, r.deps.Store, digests)
	if err != nil {
		return 0, err
	}
	defer sweep.Drop(ctx)
	began := time.Now()
	if err := r.plan.refresh(ctx); err != nil { // after the holds were read: see package hold
		return 0, err
	}
	var victims []mark
	for _, m := range list {
		if held[m.Digest] || r.plan.needed.has(m.Digest) {
			r.report.Spared.add(m.Bytes)
		} else {
			victims = append(victims, m)
		}
	}
	if err := r.record(ctx, victims); err != nil {
		return 0, err
	}
	for _, m := range victims {
		if now := time.Now(); max(now.Sub(began), now.Round(0).Sub(began.Round(0))) > hold.SweepFor { // a suspended machine stops one clock
			return max(1, slices.Index(list, m)), nil // the next sweep names the rest
		}
		removed, err := r.removeObject(ctx, m)
		if err != nil {
			return 0, err
		}
		if removed {
			r.report.Removed.add(m.Bytes)
		} else {
			r.report.Spared.add(m.Bytes) // it was written again
		}
	}
	return len(list), nil
}

// removeObject removes an object that is still the marked one.
func (r *run) removeObject(ctx context.Context, m mark) (removed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, hold.RemoveFor)
	defer cancel()
	return r.deps.Store.RemoveObject(ctx, store.StoredObject{Digest: m.Digest, Bytes: m.Bytes, Modified: m.Modified})
}

// record writes into the journals which versions lose objects, before they do.
func (r *run) record(ctx context.Context, victims []mark) error {
	bytes := map[key]int64{}
	for _, m := range victims {
		bytes[keyOf(m.Digest)] = m.Bytes
	}
	for i, d := range r.plan.datasets {
		if d.unset {
			continue
		}
		var removal dataset.Removal
		counted := map[key]bool{}
		for _, f := range d.free {
			loses := false
			for _, k := range f.keys {
				if size, ok := bytes[k]; ok {
					loses = true
					if !counted[k] {
						counted[k] = true
						removal.Objects++
						removal.Bytes += size
					}
				}
			}
			if loses && !d.gone.Contains(f.version) {
				removal.Versions = removal.Versions.Add(f.version)
			}
		}
		if len(removal.Versions) == 0 {
			continue
		}
		if err := r.append(ctx, d, &removal); err != nil {
			return err
		}
		if r.swept == nil {
			r.swept = map[int]dataset.Removal{}
		}
		before := r.swept[i]
		for _, part := range removal.Versions {
			for v := part.First; v <= part.Last; v++ {
				before.Versions = before.Versions.Add(v)
			}
		}
		r.swept[i] = before
	}
	return nil
}

// append writes the entry of a removal, and sets what is gone.
func (r *run) append(ctx context.Context, d *datasetPlan, removal *dataset.Removal) error {
	reason := r.request.Reason
	if reason == "" {
		reason = "retention: " + d.retention.String()
	}
	_, err := r.deps.Journal.Append(ctx, d.name, journal.Note{
		Kind: dataset.EntryGC, By: r.request.By, Reason: reason,
		Content: func(ctx context.Context, _ uint64) (any, error) {
			earlier, err := r.deps.Journal.Gone(ctx, d.name) // another process may have written it since the plan
			if err != nil {
				return nil, err
			}
			gone := slices.Clone(d.gone)
			for _, part := range append(earlier, removal.Versions...) {
				for v := part.First; v <= part.Last; v++ {
					gone = gone.Add(v)
				}
			}
			if len(gone) > maxRanges {
				return nil, fmt.Errorf("the versions whose bytes are gone make more than %d ranges; unpin old versions of dataset %s", maxRanges, d.name)
			}
			removal.Gone = gone
			return *removal, nil
		},
	})
	if err != nil {
		return err
	}
	d.gone = removal.Gone
	return nil
}

// mark marks the objects that no kept version needs and that are old enough, and counts all objects that are not needed.
func (r *run) mark(ctx context.Context) error {
	marked, err := r.marked(ctx)
	if err != nil {
		return err
	}
	r.frees = map[int]*Sum{}
	var list []mark
	put := func() error {
		if len(list) == 0 {
			return nil
		}
		err := r.putMarks(ctx, list)
		list = list[:0]
		return err
	}
	for o, err := range r.deps.Store.Objects(ctx) {
		if err != nil {
			return fmt.Errorf("list the objects: %w", err)
		}
		needed := r.plan.needed.has(o.Digest)
		owner, owned := r.owner[keyOf(o.Digest)]
		if owned {
			if r.frees[owner] == nil {
				r.frees[owner] = &Sum{}
			}
			r.frees[owner].add(o.Bytes)
		}
		if needed || !owned && r.request.Dataset != "" {
			continue
		}
		r.report.Unneeded.add(o.Bytes)
		if !owned {
			r.report.LeftOvers.add(o.Bytes)
		}
		if r.request.DryRun || marked.has(o.Digest) || r.plan.now.Sub(o.Modified) < r.request.Grace {
			continue
		}
		r.report.Marked.add(o.Bytes)
		if list = append(list, mark{o.Digest, o.Bytes, o.Modified}); len(list) == maxMarks {
			if err := put(); err != nil {
				return err
			}
		}
	}
	return put()
}

// marked returns the objects that are marked.
func (r *run) marked(ctx context.Context) (keys, error) {
	notes, err := r.deps.Store.Notes(ctx, markPrefix)
	if err != nil {
		return nil, fmt.Errorf("list the marks: %w", err)
	}
	marked := keys{}
	for _, n := range notes {
		list, err := r.readMarks(ctx, n.Name)
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			marked.add(m.Digest)
		}
	}
	return marked, nil
}

// describe adds the datasets to the report.
func (r *run) describe() {
	for i, d := range r.plan.datasets {
		r.report.Warnings = append(r.report.Warnings, d.warnings...)
		if r.request.Dataset != "" && d.name != r.request.Dataset {
			continue
		}
		report := DatasetReport{
			Dataset: d.name, RetentionSet: !d.unset, Retention: d.retention, Newest: d.newest.Version, Kept: len(d.kept),
			Gone: d.gone, GoneNow: r.swept[i].Versions,
		}
		for _, f := range d.free {
			if !d.gone.Contains(f.version) {
				report.Free = report.Free.Add(f.version)
			}
		}
		if sum := r.frees[i]; sum != nil {
			report.Frees = *sum
		}
		r.report.Datasets = append(r.report.Datasets, report)
	}
}
