package feed

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/store"
	"freshet.dev/scripts/benchmarks/internal/objects"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// patience bounds the wait for an instance.
const patience = 2 * time.Minute

// Feeder commits and announces versions of one dataset, as a publisher does. It is not safe for concurrent use.
type Feeder struct {
	store   store.Store
	nc      *nats.Conn
	log     *events.Log
	reports *fleet.Reports
	ring    Ring
	newest  dataset.VersionRecord
	at      int // the state of newest in the ring
	stop    context.CancelFunc
	beacons chan dataset.VersionRecord
	done    chan struct{}
}

// Open puts the objects of the ring into the store, commits its first snapshot as version 1 of the dataset, announces it, and sends
// beacons until Close.
func Open(ctx context.Context, st store.Store, natsURL, name string, ring Ring) (*Feeder, error) {
	if err := ring.Put(ctx, st); err != nil {
		return nil, fmt.Errorf("put the objects into the store: %w", err)
	}
	id, err := st.EnsureID(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := events.Connect(natsURL, "bench", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	f := &Feeder{store: st, nc: nc, ring: ring, beacons: make(chan dataset.VersionRecord), done: make(chan struct{})}
	beat, stop := context.WithCancel(ctx)
	f.stop = stop
	go f.beat(beat)
	if err := f.open(ctx, id, name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Feeder) open(ctx context.Context, id dataset.StoreID, name string) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := f.nc.FlushWithContext(wait)
	if err == nil {
		f.log, err = events.NewLog(f.nc, events.Config{})
	}
	if err == nil {
		f.reports, err = fleet.WatchReports(ctx, f.nc, "", name)
	}
	if err != nil {
		return err
	}
	first := f.ring.Snapshots[0]
	return f.commit(ctx, dataset.VersionRecord{
		StoreID: id, Dataset: name, Version: 1, Seed: rows.Seed, State: first.State, PayloadBytes: first.Payload, Snapshot: object(first, 1),
		Changes: dataset.Changes{Added: uint64(f.ring.Records)}, Source: "bench",
	})
}

// Close ends the beacons and the connection to NATS.
func (f *Feeder) Close() {
	f.stop()
	<-f.done
	if f.reports != nil {
		f.reports.Close()
	}
	f.nc.Close()
}

// Version returns the newest version.
func (f *Feeder) Version() uint64 { return f.newest.Version }

// Delta commits the next version, which instances refresh to by a delta of 1 %.
func (f *Feeder) Delta(ctx context.Context) error {
	delta := f.ring.Deltas[f.at]
	next := f.next(delta)
	own := object(delta, next.Version)
	own.From = f.newest.VersionID()
	next.Changes = dataset.Changes{Changed: uint64(delta.Changes)}
	at := (f.at + 1) % len(f.ring.Deltas)
	switch at {
	case 0, len(f.ring.Deltas) / 2: // a snapshot is at hand: the chain begins again
		next.Snapshot, next.Deltas = object(f.ring.Snapshots[min(at, 1)], next.Version), []dataset.Object{own}
	default:
		next.Snapshot, next.Deltas = f.newest.Snapshot, append(f.newest.Deltas[:len(f.newest.Deltas):len(f.newest.Deltas)], own)
	}
	f.at = at
	return f.commit(ctx, next)
}

// Full commits the next version, which instances refresh to by loading a snapshot.
func (f *Feeder) Full(ctx context.Context) error {
	half := len(f.ring.Deltas) / 2
	at, snapshot := 0, f.ring.Snapshots[0]
	if f.at < half {
		at, snapshot = half, f.ring.Snapshots[1]
	}
	next := f.next(snapshot)
	next.Snapshot = object(snapshot, next.Version)
	next.Changes = dataset.Changes{Changed: uint64(half * f.ring.Records / changed)}
	f.at = at
	return f.commit(ctx, next)
}

// next returns the record of the next version, whose state is that of the file, without its objects.
func (f *Feeder) next(file objects.File) dataset.VersionRecord {
	return dataset.VersionRecord{
		StoreID: f.newest.StoreID, Previous: f.newest.VersionID(), Dataset: f.newest.Dataset, Version: f.newest.Version + 1,
		Seed: rows.Seed, State: file.State, PayloadBytes: f.ring.Snapshots[0].Payload, Source: "bench",
	}
}

func object(f objects.File, version uint64) dataset.Object {
	o := f.Object
	o.Version = version
	return o
}

// commit writes the record to the store and announces it.
func (f *Feeder) commit(ctx context.Context, rec dataset.VersionRecord) error {
	rec.Created = time.Now().UTC()
	if err := f.store.PutVersion(ctx, rec); err != nil {
		return err
	}
	f.newest = rec
	select {
	case f.beacons <- rec:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return f.log.Announce(ctx, rec)
}

// Served waits until an instance serves the newest version.
func (f *Feeder) Served(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		r, err := f.reports.Next(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("wait for version %s: %w", f.newest.ID(), err)
		case r.Error != "":
			return fmt.Errorf("%s cannot serve version %d: %s", r.Instance, r.Version, r.Error)
		case r.Kind == fleet.OfSwap && r.Version == f.newest.Version:
			return nil
		}
	}
}

// Forward commits versions until ctx ends, the next one as soon as an instance serves the last. Each call of next commits one. It returns
// how many were served; an instance serves the last one too when it returns.
func (f *Feeder) Forward(ctx context.Context, next ...func(context.Context) error) (served int, err error) {
	for ctx.Err() == nil {
		// The commit and the wait go on after the end of ctx, so that the next measurement begins with an instance at rest.
		inside := context.WithoutCancel(ctx)
		if err := next[served%len(next)](inside); err != nil {
			return served, err
		}
		if err := f.Served(inside); err != nil {
			return served, err
		}
		served++
	}
	return served, nil
}

// beat sends beacons until ctx ends. An instance without beacons would query its relays while it is measured.
func (f *Feeder) beat(ctx context.Context) {
	defer close(f.done)
	every := time.NewTicker(events.DefaultBeaconEvery)
	defer every.Stop()
	var newest dataset.VersionRecord
	for {
		select {
		case newest = <-f.beacons:
			continue
		case <-every.C:
		case <-ctx.Done():
			return
		}
		if newest.Version == 0 {
			continue
		}
		// A beacon that fails is followed by the next one.
		_ = events.SendBeacon(f.nc, "", events.Beacon{
			Publisher: "bench", Sent: time.Now(), Every: events.DefaultBeaconEvery, Store: newest.StoreID,
			Newest: map[string]uint64{newest.Dataset: newest.Version},
			IDs:    map[string]dataset.VersionID{newest.Dataset: newest.VersionID()},
		})
	}
}
