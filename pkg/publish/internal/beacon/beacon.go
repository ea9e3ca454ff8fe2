// Package beacon sends beacons: the newest committed version of every dataset, at a fixed rate, as it is in the store.
package beacon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/store"
)

// maxLogged is how many datasets a line of the log names.
const maxLogged = 10

// Config configures a Beacon.
type Config struct {
	Every time.Duration // the period; reading the store may take as long
	Name  string        // of the sender, for people to read
	Done  func(Round)   // called after each round; it should return soon
	Log   *slog.Logger
}

// Deps is what a Beacon works with.
type Deps struct {
	Store store.Store
	// Send sends a beacon. If it is nil, none is sent.
	Send func(events.Beacon) error
	// Wait returns when none of the versions is in flight: a beacon must not overtake their events.
	Wait func(ctx context.Context, newest map[string]dataset.Ref)
	// Look gets the newest versions of each round.
	Look func(newest map[string]dataset.Ref)
}

// Round is the result of one round.
type Round struct {
	// Datasets is how many datasets the beacon names, Unread those whose newest version could not be read, and why.
	Datasets int
	Unread   map[string]error
	// Sent is when it was sent; zero if it was not. Then Err says why, unless there is no Send.
	Sent time.Time
	Err  error
}

// Beacon sends beacons. A beacon shows an instance that it missed an event; its absence shows that the instance would not receive one.
// Any number of processes may send them for the same store.
//
// If the datasets cannot be listed, no beacon is sent: a process that cannot read the store must not confirm that instances are fresh.
type Beacon struct {
	cfg  Config
	deps Deps
	wake wake.Signal

	journals journals // used by Run alone, like the fields below
	failing  string   // why the last round failed
	unread   []string // the datasets that could not be read although there was time, and
	slow     bool     // that there was no time for others
}

// New returns a Beacon.
func New(cfg Config, deps Deps) *Beacon {
	return &Beacon{cfg: cfg, deps: deps, wake: wake.New()}
}

// Wake makes Run send a beacon at once, in addition to those of the period. It never blocks.
func (b *Beacon) Wake() { b.wake.Set() }

// Run sends beacons until ctx ends, and then returns nil: one at once, and one each period from a random moment within the first on, so
// that publishers that start together do not all read the store together. It logs failures when they begin and when they end. A panic is
// such a failure too.
func (b *Beacon) Run(ctx context.Context) error {
	next := time.Now().Add(rand.N(b.cfg.Every))
	for {
		b.round(ctx)
		if !wake.Wait(ctx, time.Until(next), b.wake) {
			return nil
		}
		// The next period counts from when this round was due, so that the rate does not drift. Missed rounds are skipped.
		if late := time.Since(next); late >= 0 {
			next = next.Add(b.cfg.Every * (1 + late/b.cfg.Every))
		}
	}
}

// round sends one beacon and reports the result.
func (b *Beacon) round(ctx context.Context) {
	var round Round
	panicked := guard.Try(func() error { round = b.send(ctx); return nil })
	if ctx.Err() != nil {
		return
	}
	if panicked != nil {
		round = Round{Err: fmt.Errorf("send a beacon: %w", panicked)}
	}
	b.log(ctx, round)
	b.cfg.Done(round)
}

func (b *Beacon) send(ctx context.Context) Round {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Every)
	defer cancel()
	id, err := b.deps.Store.EnsureID(ctx)
	if err != nil {
		return Round{Err: fmt.Errorf("read the store id for a beacon: %w", err)}
	}
	newest, unread, err := b.deps.Store.Newest(ctx)
	if err != nil {
		return Round{Err: fmt.Errorf("list the datasets for a beacon: %w", err)}
	}
	journal := b.journals.read(ctx, b.deps.Store, b.cfg.Every/journalsWithin)
	b.deps.Wait(ctx, newest)
	round := Round{Datasets: len(newest), Unread: unread}
	if b.deps.Send != nil {
		now := clock.Now()
		numbers, ids := make(map[string]uint64, len(newest)), make(map[string]dataset.VersionID, len(newest))
		for name, ref := range newest {
			numbers[name], ids[name] = ref.Version, ref.ID
		}
		round.Err = b.deps.Send(events.Beacon{
			Publisher: b.cfg.Name, Sent: now.UTC(), Every: b.cfg.Every,
			Store: id, Newest: numbers, IDs: ids, Journal: journal, Unread: slices.Sorted(maps.Keys(unread)),
		})
		if round.Err == nil {
			round.Sent = now
		}
	}
	b.deps.Look(newest)
	return round
}

// log logs what differs from the round before.
func (b *Beacon) log(ctx context.Context, round Round) {
	log := b.cfg.Log
	was := b.failing
	b.failing = ""
	if round.Err != nil {
		b.failing = round.Err.Error()
	}
	switch {
	case was == "" && b.failing != "":
		log.WarnContext(ctx, "no beacon was sent, and instances will soon report that they are blind; retrying each period",
			"error", b.failing, "period", b.cfg.Every)
	case was != "" && b.failing == "":
		log.InfoContext(ctx, "beacons are sent again")
	}
	if round.Err != nil {
		return // the round has no datasets
	}
	b.logUnread(ctx, round)
}

// logUnread logs which datasets the beacon does not name. Datasets that there was no time for differ in each round, so that they are
// logged once.
func (b *Beacon) logUnread(ctx context.Context, round Round) {
	log := b.cfg.Log
	var unread, late []string
	for _, name := range slices.Sorted(maps.Keys(round.Unread)) {
		if errors.Is(round.Unread[name], context.DeadlineExceeded) {
			late = append(late, name)
		} else {
			unread = append(unread, name)
		}
	}
	if len(unread) > 0 && !slices.Equal(unread, b.unread) {
		log.WarnContext(ctx, "the newest version of some datasets cannot be read; beacons omit them",
			"datasets", unread[:min(len(unread), maxLogged)], "unread", len(unread), "error", round.Unread[unread[0]].Error())
	}
	if len(late) > 0 && !b.slow {
		log.WarnContext(ctx, "the store is too slow to read the newest version of all datasets within a period; each beacon continues after the last one, "+
			"and datasets that three beacons omit are blind: make the store faster, or set a longer FRESHET_BEACON_EVERY",
			"read", round.Datasets, "unread", len(late), "period", b.cfg.Every, "error", round.Unread[late[0]].Error())
	}
	if len(unread)+len(late) == 0 && (len(b.unread) > 0 || b.slow) {
		log.InfoContext(ctx, "beacons name all datasets again")
	}
	b.unread, b.slow = unread, len(late) > 0
}
