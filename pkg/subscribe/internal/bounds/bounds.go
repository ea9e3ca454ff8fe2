// Package bounds keeps the tables of an instance within its bounds. A [Bounds] decides before a version is loaded whether it may be, from
// what its record says, so that a refusal costs no pull.
package bounds

import (
	"errors"
	"fmt"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/memory"
	"freshet.dev/pkg/table"
)

// ErrRefused is wrapped by every [*Refusal].
var ErrRefused = errors.New("outside of the bounds of this instance")

// The names of the bounds, in refusals.
const (
	MaxRecords    = "max_records"
	MaxBytes      = "max_bytes"
	MaxTotalBytes = "max_total_bytes"
	MinMemoryLeft = "min_memory_left"
)

// loadBytes is about what a load takes besides its table: the blocks and buffers of its workers.
const loadBytes = 8 << 20

// Config has the bounds; 0 is none.
type Config struct {
	MaxRecords    uint64 // of a dataset
	MaxBytes      int64  // of the table of a dataset
	MaxTotalBytes int64  // of all tables
	MinMemoryLeft int64  // after a load
}

// Refusal is the error of a version that an instance does not load.
type Refusal struct {
	Bound  string // its name
	Detail string
	// Repeated is true if the dataset's last refusal was the same: of the version, by the bound.
	Repeated bool
}

func (r *Refusal) Error() string { return fmt.Sprintf("%v: %s: %s", ErrRefused, r.Bound, r.Detail) }

// Unwrap returns ErrRefused.
func (*Refusal) Unwrap() error { return ErrRefused }

// Permanent reports that every further attempt at the version is refused. The other bounds are about memory that other loads and tables
// take.
func (r *Refusal) Permanent() bool { return r.Bound == MaxRecords || r.Bound == MaxBytes }

// Bounds admits loads. A nil *Bounds admits all. It is safe for concurrent use.
type Bounds struct {
	cfg  Config
	left func() (memory.Room, error)

	mu       sync.Mutex // guards the fields below
	datasets map[string]*state
}

// state is what Bounds knows of a dataset.
type state struct {
	served    int64  // bytes of the served table
	coming    int64  // about what the table in the making will have; 0 if there is none
	growth    int64  // about what the load in progress may still take; 0 if there is none
	admission uint64 // number of the last one
	refused   refused
	// measured are the bytes of the table of a version that was larger than its estimate.
	version  dataset.VersionID
	measured int64
}

// refused is the last refusal of a dataset.
type refused struct {
	version dataset.Ref
	bound   string
}

// New returns Bounds that read the memory that is left with the given function.
func New(cfg Config, left func() (memory.Room, error)) *Bounds {
	return &Bounds{cfg: cfg, left: left, datasets: map[string]*state{}}
}

// Admission reserves the memory of a load.
type Admission struct {
	bounds *Bounds // nil for nothing to release
	name   string
	number uint64
}

// Release ends the reservation. It may be called more than once, and on the zero Admission.
func (a *Admission) Release() {
	if a.bounds == nil {
		return
	}
	a.bounds.mu.Lock()
	defer a.bounds.mu.Unlock()
	if s := a.bounds.of(a.name); s.admission == a.number { // else a later load has the reservation
		s.coming, s.growth = 0, 0
	}
	a.bounds = nil
}

// Full admits the load of a snapshot and its deltas while another table is served, or returns a *Refusal.
func (b *Bounds) Full(rec dataset.VersionRecord) (Admission, error) {
	if b == nil {
		return Admission{}, nil
	}
	return b.admit(rec, func(estimate, _ int64) int64 { return estimate + loadBytes })
}

// Deltas admits the load of deltas onto the table that is served, or returns a *Refusal.
func (b *Bounds) Deltas(rec dataset.VersionRecord, deltas []dataset.Object) (Admission, error) {
	if b == nil {
		return Admission{}, nil
	}
	var bytes float64
	for _, o := range deltas {
		bytes += float64(o.Bytes)
	}
	// Deltas are compressed about as well as the snapshot. Their records are in memory twice, and the indexes of the partitions that change.
	ratio := max(float64(rec.PayloadBytes)/float64(max(rec.Snapshot.Bytes, 1)), 1)
	return b.admit(rec, func(estimate, served int64) int64 {
		return int64(min(float64(max(estimate-served, 0))+3*ratio*bytes, float64(estimate))) + loadBytes
	})
}

// admit admits a load that takes the bytes that need returns for the estimate of the version's table and the bytes of the served one.
func (b *Bounds) admit(rec dataset.VersionRecord, need func(estimate, served int64) int64) (Admission, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(rec.Dataset)
	estimate := table.EstimateBytes(rec.State.Records, rec.PayloadBytes)
	if s.measured > 0 && s.version == rec.VersionID() {
		estimate = s.measured
	}
	growth := need(estimate, s.served)
	if err := b.check(rec, estimate, growth); err != nil {
		err.Repeated = s.refused == refused{rec.Ref(), err.Bound}
		s.refused = refused{rec.Ref(), err.Bound}
		return Admission{}, err
	}
	s.coming, s.growth = estimate, growth
	s.admission++
	return Admission{b, rec.Dataset, s.admission}, nil
}

func (b *Bounds) check(rec dataset.VersionRecord, estimate, growth int64) *Refusal {
	refuse := func(bound, format string, args ...any) *Refusal {
		return &Refusal{Bound: bound, Detail: fmt.Sprintf(format, args...)}
	}
	if most := b.cfg.MaxRecords; most > 0 && rec.State.Records > most {
		return refuse(MaxRecords, "version %s has %d records, the most is %d (FRESHET_MAX_RECORDS)", rec.ID(), rec.State.Records, most)
	}
	if most := b.cfg.MaxBytes; most > 0 && estimate > most {
		return refuse(MaxBytes, "version %s takes about %d bytes in memory, the most for a dataset is %d (FRESHET_MAX_BYTES)", rec.ID(), estimate, most)
	}
	others, reserved := b.others(rec.Dataset)
	if most := b.cfg.MaxTotalBytes; most > 0 && estimate > most-others {
		return refuse(MaxTotalBytes, "version %s takes about %d bytes in memory and the other datasets take %d, the most for all is %d (FRESHET_MAX_TOTAL_BYTES)",
			rec.ID(), estimate, others, most)
	}
	least := b.cfg.MinMemoryLeft
	if least <= 0 {
		return nil
	}
	room, err := b.left()
	if err != nil {
		return nil // Open has warned of it
	}
	if growth > room.Bytes-reserved-least {
		return refuse(MinMemoryLeft, "the load of version %s takes about %d bytes, and %s has %d bytes left, of which other loads take %d and %d must stay free (FRESHET_MIN_MEMORY_LEFT)",
			rec.ID(), growth, room.Limit, room.Bytes, reserved, least)
	}
	return nil
}

// others returns the bytes of the tables of the other datasets, of each the larger of the one that is served and the one in the making, and
// what their loads may still take.
func (b *Bounds) others(name string) (bytes, growth int64) {
	for other, s := range b.datasets {
		if other != name {
			bytes += max(s.served, s.coming)
			growth += s.growth
		}
	}
	return bytes, growth
}

// Loaded returns a *Refusal if the table of rec, loaded from its snapshot, has more bytes than a dataset may have although its estimate had
// not. Further attempts at rec are then refused by Full.
func (b *Bounds) Loaded(rec dataset.VersionRecord, bytes int64) error {
	if b == nil || b.cfg.MaxBytes <= 0 || bytes <= b.cfg.MaxBytes {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(rec.Dataset)
	s.version, s.measured, s.refused = rec.VersionID(), bytes, refused{rec.Ref(), MaxBytes}
	return &Refusal{
		Bound: MaxBytes, Detail: fmt.Sprintf("version %s takes %d bytes in memory, the most for a dataset is %d (FRESHET_MAX_BYTES)", rec.ID(), bytes, b.cfg.MaxBytes),
	}
}

// Served records the bytes of the table that is served, and ends the reservation of its load.
func (b *Bounds) Served(name string, bytes int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(name)
	s.served, s.coming, s.growth, s.refused = bytes, 0, 0, refused{}
}

// of returns the state of a dataset. The caller holds mu.
func (b *Bounds) of(name string) *state {
	s := b.datasets[name]
	if s == nil {
		s = &state{}
		b.datasets[name] = s
	}
	return s
}
