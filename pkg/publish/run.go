package publish

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/publish/internal/beacon"
	"freshet.dev/pkg/publish/internal/compact"
	"freshet.dev/pkg/publish/internal/follow"
	"github.com/sourcegraph/conc/pool"
)

// Values of RepairResult.What.
const (
	RepairAnnounce = "announce" // the event log
	RepairIndex    = "index"    // the catalog
)

// RepairResult is what a repair did for one dataset, or why it failed.
type RepairResult struct {
	// What is repaired: RepairAnnounce or RepairIndex.
	What string
	// Dataset is empty if the event log or the catalog could not be queried at all.
	Dataset string
	// From and To are the first and the last version that was announced or indexed; zero if none was.
	From, To uint64
	// Replaced is the version that was there and is not in the store's history, and that To replaced; zero if there was none. The store
	// was restored from an older copy, or created again.
	Replaced dataset.Ref
	// Err is why the repair is not complete; nil if it is. It includes versions that can never be announced; the repair continues after
	// them.
	Err error
}

// BeaconRound is the result of one round of the beacon.
type BeaconRound struct {
	// Datasets is how many datasets the beacon names, Unread those whose newest version could not be read, and why.
	Datasets int
	Unread   map[string]error
	// Sent is when it was sent; zero if it was not. Then Err says why, unless Deps has no SendBeacon.
	Sent time.Time
	Err  error
}

// Compaction is what a compaction did.
type Compaction struct {
	// Record is the snapshot that it or a concurrent compaction wrote; zero if none was due.
	Record dataset.SnapshotRecord
	// Deltas is how many deltas followed the snapshot before, Bytes is how many bytes they had.
	Deltas int
	Bytes  int64
}

// background is what Run runs.
type background struct {
	beacon     *beacon.Beacon
	repairer   *follow.Repairer
	compaction *compact.Loop
}

func (p *Publisher) newBackground() background {
	cfg := p.cfg
	repairer := follow.NewRepairer(p.followers, func(r follow.Repair) { cfg.OnRepair(RepairResult(r)) })
	return background{
		repairer: repairer,
		beacon: beacon.New(
			beacon.Config{Every: cfg.BeaconEvery, Name: cfg.BeaconName, Log: cfg.Log, Done: func(r beacon.Round) { cfg.OnBeacon(BeaconRound(r)) }},
			beacon.Deps{Store: p.deps.Store, Send: p.deps.SendBeacon, Wait: p.inflight.Wait, Look: repairer.Look}),
		compaction: compact.NewLoop(p.compactor, compact.LoopConfig{
			Every: cfg.CompactEvery, Retry: min(compactRetry, cfg.CompactEvery),
			Done: func(name string, c compact.Compaction, took time.Duration, err error) {
				cfg.OnCompact(name, Compaction(c), took, err)
			},
		}),
	}
}

// Run runs the background work of a publisher until ctx ends, and then returns nil. One process for each store needs it; several are
// safe.
//
//   - It sends beacons, by which instances know that they missed no event.
//   - It repairs the event log and the catalog when it starts, when a beacon's round finds them behind, and after a failure until it
//     succeeds. See Repair.
//   - It compacts datasets when it starts, every Config.CompactEvery, and after a Patch of this Publisher. See Compact.
//
// Failures are logged to Config.Log, and retried. Run returns [ErrRunning] at once while another Run of this Publisher is in progress.
func (p *Publisher) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer p.running.Store(false)
	running := pool.New().WithContext(ctx).WithCancelOnError()
	running.Go(p.background.beacon.Run)
	running.Go(p.background.repairer.Run)
	running.Go(p.background.compaction.Run)
	return running.Wait()
}

// Wake makes Run send a beacon and repair at once. Call it when the connection to NATS is back: instances may be blind until the next
// beacon. It never blocks.
func (p *Publisher) Wake() {
	p.background.repairer.Wake()
	p.background.beacon.Wake()
}

// Repair completes what publishers that died, or servers that were wiped, left incomplete for any dataset. It announces to the event log
// what that lacks, of each dataset the last 1,000 versions at most and in order, and indexes the last 32 in the catalog. The error joins
// those of the repairs, and those of datasets that could not be read in the store.
//
// It does nothing where nothing is missing, and may run at any time, in any number of processes.
func (p *Publisher) Repair(ctx context.Context) ([]RepairResult, error) {
	newest, unread, err := p.followers.Newest(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(unread)) {
		errs = append(errs, fmt.Errorf("look up the newest version of dataset %q: %w", name, unread[name]))
	}
	var repairs []RepairResult
	for _, r := range p.followers.Repair(ctx, newest) {
		repairs = append(repairs, RepairResult(r))
		errs = append(errs, r.Err)
	}
	return repairs, oneline.Join(errs...)
}

// Compact writes a snapshot of the newest version of the dataset called name if one is due. A publish writes it itself, but a patch does
// not, because that would take as long as the dataset is large. Compact streams from the store to the store: its memory does not depend
// on the size of the dataset, and its disk use is up to one and a half snapshots. The version does not change; the versions after it
// name the new snapshot.
//
// It may be stopped or killed at any point, and run again. It delays no publish. Compactions of several processes at a time are safe;
// all but one do wasted work. The compactions of one Publisher wait for one another.
func (p *Publisher) Compact(ctx context.Context, name string) (Compaction, error) {
	c, err := p.compactor.Compact(ctx, name)
	return Compaction(c), err
}
