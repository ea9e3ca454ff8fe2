package index

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/index/internal/sorted"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/member"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
)

// Specs are the checked specs of a dataset.
type Specs struct {
	specs []Spec
	paths *member.Paths // of the members of all specs
	first []int         // by spec: the place of its first member in paths
}

// Compile returns the specs for [Specs.Build]. The error is an [ErrSpec].
func Compile(specs []Spec) (*Specs, error) {
	if err := Check(specs); err != nil {
		return nil, err
	}
	all := &Specs{specs: slices.Clone(specs)}
	var paths []string
	for _, s := range specs {
		all.first = append(all.first, len(paths))
		paths = append(paths, s.members()...)
	}
	var err error
	if all.paths, err = member.Parse(paths...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpec, err)
	}
	return all, nil
}

// values returns the values of the members of spec i.
func (s *Specs) values(i int, all []member.Value) []member.Value {
	return all[s.first[i] : s.first[i]+len(s.specs[i].members())]
}

// Set is one version of a dataset with its indexes. It is immutable and safe for concurrent use. It keeps the table of its version in
// memory and no other.
type Set struct {
	specs   *Specs
	table   *table.Table
	id      dataset.VersionID
	columns []column // by spec
}

// column is one index of a set.
type column struct {
	// entries has an encoded value, followed by a key, for each record; for a range of addresses several.
	entries *sorted.Set
	// refused has a reason, followed by a key, for the records that the index lacks, except for those without the member.
	refused *sorted.Set
	counts  [reasons]int // of records
}

// Table returns the table of the set's version.
func (s *Set) Table() *table.Table { return s.table }

// ID returns the id of the set's version.
func (s *Set) ID() dataset.VersionID { return s.id }

// Specs returns the specs of the set's indexes.
func (s *Set) Specs() []Spec { return slices.Clone(s.specs.specs) }

// Specs returns the specs that were compiled.
func (s *Specs) Specs() []Spec { return slices.Clone(s.specs) }

// Build returns the indexes of all records of t, the version with the id. It calls [lane.Yield] about every hundred records. The error is
// the cause of ctx.
func (s *Specs) Build(ctx context.Context, t *table.Table, id dataset.VersionID) (*Set, error) {
	empty := &Set{specs: s, columns: make([]column, len(s.specs))}
	for i := range empty.columns {
		empty.columns[i] = column{entries: &sorted.Set{}, refused: &sorted.Set{}}
	}
	return empty.Apply(ctx, t, id, func(yield func(snapshot.Change) bool) {
		for key, value := range t.All() {
			if !yield(snapshot.Change{Op: snapshot.Added, Key: key, New: value}) {
				return
			}
		}
	})
}

// The sizes of a batch of changes that are applied together. A batch has its entries twice in memory until it is sorted and applied.
const (
	batchEntries = 1 << 19
	batchBytes   = 32 << 20
)

// yieldEvery is the number of records between two calls of lane.Yield.
const yieldEvery = 100

// Apply returns the indexes of t, the version with the id, to which the changes lead from the version of s. The cost follows the number of
// changes. It calls [lane.Yield] about every hundred records. The error is the cause of ctx.
func (s *Set) Apply(ctx context.Context, t *table.Table, id dataset.VersionID, changes iter.Seq[snapshot.Change]) (*Set, error) {
	u := update{
		ctx: ctx, specs: s.specs, columns: slices.Clone(s.columns),
		entries: make([]sorted.Edits, len(s.columns)), refused: make([]sorted.Edits, len(s.columns)),
	}
	n := 0
	for c := range changes {
		if n++; n%yieldEvery == 0 {
			lane.Yield(ctx)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
		u.change(c)
	}
	u.flush(0, 0)
	return &Set{specs: s.specs, table: t, id: id, columns: u.columns}, nil
}

// update makes the columns of a version from those of another.
type update struct {
	ctx              context.Context
	specs            *Specs
	columns          []column
	entries, refused []sorted.Edits // by column
	was, is          encoded
	olds, news       []member.Value
}

func (u *update) change(c snapshot.Change) {
	u.olds, u.news = u.olds[:0], u.news[:0]
	if c.Op != snapshot.Added {
		u.olds = u.specs.paths.Read(c.Old, u.olds)
	}
	if c.Op != snapshot.Removed {
		u.news = u.specs.paths.Read(c.New, u.news)
	}
	for i, spec := range u.specs.specs {
		if c.Op == snapshot.Changed && slices.EqualFunc(u.specs.values(i, u.olds), u.specs.values(i, u.news), sameText) {
			continue
		}
		if c.Op != snapshot.Added {
			u.was.read(spec, u.specs.values(i, u.olds))
		}
		if c.Op != snapshot.Removed {
			u.is.read(spec, u.specs.values(i, u.news))
		}
		if c.Op == snapshot.Changed && u.was.equal(&u.is) {
			continue
		}
		if c.Op != snapshot.Added {
			u.remove(i, c.Key)
		}
		if c.Op != snapshot.Removed {
			u.add(i, c.Key)
		}
	}
	u.flush(batchEntries, batchBytes)
}

// sameText reports whether the values have the same JSON text.
func sameText(a, b member.Value) bool { return a.Raw() == b.Raw() }

// remove removes what u.was has for the key.
func (u *update) remove(i int, key []byte) {
	u.columns[i].counts[u.was.why]--
	for part := range u.was.parts {
		u.entries[i].Remove(part, key)
	}
	if u.was.why > Missing {
		u.refused[i].Remove([]byte{byte(u.was.why)}, key)
	}
}

// add adds what u.is has for the key.
func (u *update) add(i int, key []byte) {
	u.columns[i].counts[u.is.why]++
	for part := range u.is.parts {
		u.entries[i].Add(part, key)
	}
	if u.is.why > Missing {
		u.refused[i].Add([]byte{byte(u.is.why)}, key)
	}
}

// flush applies the edits of the columns that have at least so many of them or so many bytes.
func (u *update) flush(entries, size int) {
	yield := func() { lane.Yield(u.ctx) }
	apply := func(to **sorted.Set, e *sorted.Edits) {
		if e.Len() > 0 && (e.Len() >= entries || e.Bytes() >= size) {
			*to = (*to).Apply(e, yield)
			e.Reset()
		}
	}
	for i := range u.columns {
		apply(&u.columns[i].entries, &u.entries[i])
		apply(&u.columns[i].refused, &u.refused[i])
	}
}

// Stats describes an index of a set.
type Stats struct {
	Spec Spec
	// Records is the number of records that the index has. Entries is more for ranges of addresses, which are split.
	Records, Entries int
	// Bytes is the memory of the index.
	Bytes int64
	// Lacking are the records that the index lacks, by the reason.
	Lacking []Lacking
}

// Lacking are the records that an index lacks for a reason.
type Lacking struct {
	Reason  Reason
	Records int
	// First is the key of one of them; empty if they lack the member.
	First string
}

// Stats describes the indexes, in the order of their specs. It costs a search for each.
func (s *Set) Stats() []Stats {
	all := make([]Stats, len(s.columns))
	for i, c := range s.columns {
		all[i] = Stats{Spec: s.specs.specs[i], Records: c.counts[indexed], Entries: c.entries.Len(), Bytes: c.entries.Bytes() + c.refused.Bytes()}
		for why := Missing; why < reasons; why++ {
			if c.counts[why] == 0 {
				continue
			}
			l := Lacking{Reason: why, Records: c.counts[why]}
			if first, ok := c.refused.First([]byte{byte(why)}, nil); ok && why > Missing {
				l.First = string(first[1:])
			}
			all[i].Lacking = append(all[i].Lacking, l)
		}
	}
	return all
}

// Err returns an error if an index lacks records that have its member, or if no record has the member; nil otherwise.
func (s *Set) Err() error {
	var faults []string
	for _, st := range s.Stats() {
		for _, l := range st.Lacking {
			switch {
			case l.Reason == Missing && l.Records == s.table.Len():
				faults = append(faults, fmt.Sprintf("no record has what index %s is on", st.Spec))
			case l.Reason != Missing:
				faults = append(faults, fmt.Sprintf("index %s lacks %d records, %s, such as %.80q", st.Spec, l.Records, l.Reason, l.First))
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("version %d: %s", s.table.Version(), strings.Join(faults, "; "))
}
