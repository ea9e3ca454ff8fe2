package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish/internal/clock"
	"github.com/sourcegraph/conc/panics"
)

// MinBeaconEvery is the shortest period of a Beacon.
const MinBeaconEvery = 100 * time.Millisecond

// BeaconConfig says how a Beacon works. The zero BeaconConfig is usable.
type BeaconConfig struct {
	// Every is the period; 0 means [events.DefaultBeaconEvery], the least is MinBeaconEvery and the most
	// [events.MaxBeaconEvery]. Reading the store may take as long. A beacon omits the datasets that are unread by then, and
	// the next one begins with them.
	Every time.Duration
	// Name says who sends the beacons, for people to read.
	Name string
	// Done, if not nil, is called after each round. It should return soon.
	Done func(BeaconRound)
}

// BeaconDeps is what a Beacon works with.
type BeaconDeps struct {
	// Publisher is whose store is read; required. A beacon does not overtake the events of what it publishes.
	Publisher *Publisher
	// Send sends a beacon: [events.SendBeacon], with a connection. If nil, nothing is sent.
	Send func(events.Beacon) error
	// Repairer, if not nil, is given what was read in each round, so that what is missing is completed within a period.
	Repairer *Repairer
}

// BeaconRound says what came of one round.
type BeaconRound struct {
	// Datasets is for how many datasets the beacon spoke, Unread for which it could not, and why.
	Datasets int
	Unread   map[string]error
	// Sent is when it was sent; zero if it was not. Then Err says why, unless there is no Send.
	Sent time.Time
	Err  error
}

// Beacon tells all instances, at a fixed rate, the newest committed version of every dataset, as it is in the store. By it
// an instance knows that it missed an event, and by its absence that it would not hear of one. Any number of processes may
// run one for the same store.
//
// When the datasets cannot be listed it sends nothing: who cannot see the store must not tell anyone that all is well.
type Beacon struct {
	cfg  BeaconConfig
	deps BeaconDeps
	soon chan struct{} // holds one: that a round is asked for

	failing string   // what the last round failed for, used by Run alone; so is
	unread  []string // for which datasets it could not speak although there was time to read them
	slow    bool     // that there was no time for others
}

// NewBeacon returns a Beacon. It does nothing until Run.
func NewBeacon(cfg BeaconConfig, deps BeaconDeps) (*Beacon, error) {
	if deps.Publisher == nil {
		return nil, errors.New("publish: BeaconDeps has no Publisher")
	}
	if cfg.Every == 0 {
		cfg.Every = events.DefaultBeaconEvery
	}
	if cfg.Every < MinBeaconEvery || cfg.Every > events.MaxBeaconEvery {
		return nil, fmt.Errorf("publish: BeaconConfig.Every is %v; it must be %v to %v", cfg.Every, MinBeaconEvery, events.MaxBeaconEvery)
	}
	if cfg.Done == nil {
		cfg.Done = func(BeaconRound) {}
	}
	return &Beacon{cfg: cfg, deps: deps, soon: make(chan struct{}, 1)}, nil
}

// Soon has a beacon sent at once, beside those of the period. Call it when the connection is back. It never blocks.
func (b *Beacon) Soon() {
	select {
	case b.soon <- struct{}{}:
	default: // one is to be sent already
	}
}

// Run sends beacons until ctx ends, and then returns nil: one at once, and one each period from a random moment within the
// first on, so that publishers which start together do not all read the store together. What fails is logged when it begins
// to fail and when that is over; a panic is such a failure too.
func (b *Beacon) Run(ctx context.Context) error {
	next := time.Now().Add(rand.N(b.cfg.Every))
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		b.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-b.soon:
		case <-timer.C:
			// From the moment that it was due, so that the rate does not drift; what was missed is not made up for.
			late := time.Since(next)
			next = next.Add(b.cfg.Every * (1 + late/b.cfg.Every))
			timer.Reset(time.Until(next))
		}
	}
}

// round sends one beacon and says what came of it.
func (b *Beacon) round(ctx context.Context) {
	var round BeaconRound
	panicked := panics.Try(func() { round = b.send(ctx) }).AsError()
	if ctx.Err() != nil {
		return // the process stops
	}
	if panicked != nil {
		round = BeaconRound{Err: fmt.Errorf("send a beacon: %w", panicked)}
	}
	b.log(ctx, round)
	b.cfg.Done(round)
}

func (b *Beacon) send(ctx context.Context) BeaconRound {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Every)
	defer cancel()
	p := b.deps.Publisher
	id, err := p.deps.Store.EnsureID(ctx)
	if err != nil {
		return BeaconRound{Err: fmt.Errorf("read the store id for a beacon: %w", err)}
	}
	newest, unread, err := p.deps.Store.Newest(ctx)
	if err != nil {
		return BeaconRound{Err: fmt.Errorf("list the datasets for a beacon: %w", err)}
	}
	p.inflight.Wait(ctx, newest)
	round := BeaconRound{Datasets: len(newest), Unread: unread}
	if b.deps.Send != nil {
		now := clock.Now()
		numbers, ids := make(map[string]uint64, len(newest)), make(map[string]dataset.VersionID, len(newest))
		for name, ref := range newest {
			numbers[name], ids[name] = ref.Version, ref.ID
		}
		round.Err = b.deps.Send(events.Beacon{
			Publisher: b.cfg.Name, Sent: now.UTC(), Every: b.cfg.Every,
			Store: id, Newest: numbers, IDs: ids, Unread: slices.Sorted(maps.Keys(unread)),
		})
		if round.Err == nil {
			round.Sent = now
		}
	}
	if b.deps.Repairer != nil {
		b.deps.Repairer.Look(newest)
	}
	return round
}

// log tells of what is different from the round before.
func (b *Beacon) log(ctx context.Context, round BeaconRound) {
	log := b.deps.Publisher.cfg.Log
	was := b.failing
	b.failing = ""
	if round.Err != nil {
		b.failing = round.Err.Error()
	}
	switch {
	case was == "" && b.failing != "":
		log.WarnContext(ctx, "no beacon was sent, and instances say soon that they are blind; it is tried again each period",
			"error", b.failing, "period", b.cfg.Every)
	case was != "" && b.failing == "":
		log.InfoContext(ctx, "beacons are sent again")
	}
	if round.Err != nil {
		return // and knows of no dataset
	}
	b.logUnread(ctx, round)
}

// maxLogged is how many datasets a line of the log names.
const maxLogged = 10

// logUnread logs for which datasets the beacon does not speak. Those that there was no time for are others each round: that
// there are some is logged once.
func (b *Beacon) logUnread(ctx context.Context, round BeaconRound) {
	log := b.deps.Publisher.cfg.Log
	var unread, late []string
	for _, name := range slices.Sorted(maps.Keys(round.Unread)) {
		if errors.Is(round.Unread[name], context.DeadlineExceeded) {
			late = append(late, name)
		} else {
			unread = append(unread, name)
		}
	}
	if len(unread) > 0 && !slices.Equal(unread, b.unread) {
		log.WarnContext(ctx, "the newest version of some datasets cannot be read; beacons do not speak for them",
			"datasets", unread[:min(len(unread), maxLogged)], "unread", len(unread), "error", round.Unread[unread[0]].Error())
	}
	if len(late) > 0 && !b.slow {
		log.WarnContext(ctx, "the store is too slow to read the newest version of all datasets within a period; each beacon goes on where the last one ended, "+
			"and datasets that none of three beacons speaks for are blind: make the store faster, or set a longer FRESHET_BEACON_EVERY",
			"read", round.Datasets, "unread", len(late), "period", b.cfg.Every, "error", round.Unread[late[0]].Error())
	}
	if len(unread)+len(late) == 0 && (len(b.unread) > 0 || b.slow) {
		log.InfoContext(ctx, "beacons speak for all datasets again")
	}
	b.unread, b.slow = unread, len(late) > 0
}
