package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/store"
)

const (
	// maxAttempts is how many versions of other publishers a commit steps behind before it gives up.
	maxAttempts = 32
	// patientAttempts is how many of those it steps behind before patches in the same process wait for it: a comparison
	// with all records takes longer than a patch does, and would lose to a row of them each time.
	patientAttempts = 2
	// doubtTimeout bounds how long a publisher whose commit failed tries to find out whether it really did.
	doubtTimeout = 5 * time.Second
)

// commit makes the draft the next version, unless the newest version has its content already, is whole, and needs not be
// renewed. Each attempt looks at the newest version anew; the store lets exactly one publisher create the version after it.
func (p *Publisher) commit(ctx context.Context, d *draft) (Result, error) {
	for attempt := range maxAttempts {
		if ctx.Err() != nil {
			return Result{}, fmt.Errorf("publish dataset %q: %w", d.name, context.Cause(ctx))
		}
		if attempt == patientAttempts {
			done, _, err := p.committing.Lock(ctx, d.name)
			if err != nil {
				return Result{}, fmt.Errorf("publish dataset %q: %w", d.name, err)
			}
			defer done()
		}
		latest, err := p.latest(ctx, d)
		if err == nil && attempt >= claimAfter {
			latest, err = p.reserve(ctx, d, latest)
		}
		if err != nil {
			return Result{}, err
		}
		began := time.Now()
		if made, found, err := d.request.find(ctx, p.deps.Store, latest); err != nil {
			return Result{}, err
		} else if found {
			return p.repeated(d, made)
		}
		var result Result
		whole := false // that latest is whole, and has the draft's content
		if latest.Version > 0 && latest.State == d.state() {
			if whole, err = p.heal(ctx, d, latest, &result); err != nil {
				return Result{}, err
			}
		}
		if whole {
			if err := d.check(ctx); err != nil {
				return Result{}, err
			}
			if !renews(latest, d.in.promise(latest)) {
				result.Record = latest
				result.Warnings = append(result.Warnings, labelsDropped(d.in.Labels, latest)...)
				// No version is made that could name a wrong store.
				if _, err := p.history.Records.StoreID(ctx, latest); errors.Is(err, ErrStoreID) {
					result.Warnings = append(result.Warnings, err.Error())
				}
				return result, nil
			}
		}
		result.Created = true
		if err := p.prepare(ctx, d, latest, whole, &result); err != nil {
			return Result{}, fmt.Errorf("publish version %d of dataset %q: %w", latest.Version+1, d.name, err)
		}
		d.longest = max(d.longest, time.Since(began))
		if waited, err := p.honour(ctx, d.name, result.Record.Version, d.owner); err != nil {
			return Result{}, fmt.Errorf("publish dataset %q: %w", d.name, err)
		} else if waited {
			continue
		}
		err = p.putVersion(ctx, result.Record)
		if err == nil {
			return result, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return Result{}, commitFailed(result.Record, err)
		}
	}
	return Result{}, fmt.Errorf("publish dataset %q: %w %d times; publish again, and let one publisher at a time publish a dataset",
		d.name, ErrConflict, maxAttempts)
}

// commitFailed says which version err is about.
func commitFailed(rec dataset.VersionRecord, err error) error {
	if errors.Is(err, ErrUnknown) {
		return err
	}
	return fmt.Errorf("commit version %s: %w", rec.ID(), err)
}

// latest returns the newest version, the zero record if there is none, and brings the draft into the order of its seed:
// of several publishers of a first version one sets the seed.
func (p *Publisher) latest(ctx context.Context, d *draft) (dataset.VersionRecord, error) {
	latest, err := p.history.Records.Newest(ctx, d.name)
	if err != nil || latest.Version == 0 {
		return latest, err
	}
	if uint64(latest.Seed) != d.seed {
		if err := p.reseed(ctx, d, uint64(latest.Seed)); err != nil {
			return dataset.VersionRecord{}, fmt.Errorf("sort dataset %q by the seed of version %s: %w", d.name, latest.ID(), err)
		}
	}
	return latest, nil
}

// prepare puts what the next version needs into the store, and its record into the result: the delta from latest, and
// a snapshot of the draft if one is due. Renewed says that latest has the draft's content and is whole.
func (p *Publisher) prepare(ctx context.Context, d *draft, latest dataset.VersionRecord, renewed bool, result *Result) error {
	sum := d.sorter.Totals()
	rec := dataset.VersionRecord{
		Dataset: d.name, Version: latest.Version + 1, Seed: dataset.Seed(d.seed),
		State: sum.State, PayloadBytes: uint64(sum.PayloadBytes),
		Source: d.in.Source, Labels: d.in.Labels, ExpectEvery: d.in.promise(latest), RequestID: d.in.RequestID,
	}
	switch {
	case latest.Version == 0:
		rec.Changes.Added = sum.State.Records
	case renewed:
		if err := p.renew(ctx, d, latest, &rec); err != nil {
			return err
		}
	case latest.State == sum.State:
		if err := p.standIn(ctx, d, latest, &rec); err != nil {
			return err
		}
	default:
		err := p.follow(ctx, d, latest, &rec)
		if lost, ok := errors.AsType[*lostError](err); ok {
			result.Warnings = append(result.Warnings, lost.Error())
		} else if err != nil {
			return err
		}
	}
	if rec.Snapshot.Version == 0 {
		if err := p.putSnapshot(ctx, d, &rec); err != nil {
			return err
		}
	}
	if err := p.history.Objects.CheckNamed(ctx, &rec); err != nil {
		return history.LostError(err)
	}
	if err := p.history.Records.Stamp(ctx, &rec, latest); err != nil {
		return err
	}
	rec.Created = clock.Now().UTC()
	result.Record = rec
	return nil
}

// putSnapshot puts the draft's snapshot into the store, and names it in rec.
func (p *Publisher) putSnapshot(ctx context.Context, d *draft, rec *dataset.VersionRecord) error {
	if err := p.write(ctx, d); err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	d.meter.report(PhaseStoring, d.totals.Entries)
	rec.Snapshot = dataset.Object{Version: rec.Version, Digest: d.totals.Digest, Bytes: d.totals.FileBytes}
	// After a lost race the object is there already, and the store leaves it alone.
	if err := p.history.Objects.Put(ctx, d.path, rec.Snapshot); err != nil {
		return err
	}
	// gofail: var snapshotStored struct{}
	return nil
}

// follow makes rec, the draft's, lead on from latest: it puts the delta between the two into the store, and names in rec
// the snapshot of latest or, if one is due, a new one. An error leaves rec without either.
func (p *Publisher) follow(ctx context.Context, d *draft, latest dataset.VersionRecord, rec *dataset.VersionRecord) error {
	c, err := p.history.Chains.Shortest(ctx, latest)
	if err != nil {
		return err
	}
	var made delta
	err = p.history.Chains.Read(ctx, latest, c, func(by history.Chain) (err error) {
		c = by
		made, err = p.diff(ctx, d, latest, by)
		return err
	})
	if err != nil {
		return err
	}
	rec.Changes = made.changes
	if made.path == "" {
		return p.putSnapshot(ctx, d, rec) // which begins a chain
	}
	d.meter.report(PhaseStoring, d.state().Records)
	// Against the snapshot that the draft would have, too: a dataset that shrinks has deltas that are large beside what
	// it has become. How well records are compressed is not supposed to change much.
	own := int64(float64(c.Snapshot.Bytes) * float64(d.sorter.Totals().RawBytes) / float64(made.base.RawBytes))
	if p.limits.Exceeded(append(slices.Clone(c.Deltas), made.object), min(c.Snapshot.Bytes, own)) {
		if err := p.putSnapshot(ctx, d, rec); err != nil {
			return err
		}
	} else {
		rec.Snapshot = c.Snapshot
	}
	return p.putDelta(ctx, latest, made, rec)
}

// putDelta puts the delta from latest into the store, and names it in rec with those before it.
func (p *Publisher) putDelta(ctx context.Context, latest dataset.VersionRecord, made delta, rec *dataset.VersionRecord) error {
	rec.Deltas = history.Kept(append(slices.Clone(latest.Deltas), made.object), rec.Snapshot)
	if len(rec.Deltas) == 0 {
		return nil // the delta is larger than the snapshot: of no use to anyone
	}
	if err := p.history.Objects.Put(ctx, made.path, made.object); err != nil {
		return err
	}
	// gofail: var deltaStored struct{}
	return nil
}

// putVersion commits rec. When it returns nil, tell has to end what is begun here. It returns an ErrUnknown if rec may be committed.
func (p *Publisher) putVersion(ctx context.Context, rec dataset.VersionRecord) error {
	p.inflight.Begin(rec)
	err := p.deps.Store.PutVersion(ctx, rec)
	if err == nil {
		return nil
	}
	switch p.outcome(ctx, rec, err) {
	case committed:
		return nil
	case unknown:
		err = &UnknownError{rec, err}
	case taken:
		err = errors.Join(store.ErrExists, err)
	}
	p.inflight.End(rec)
	return err
}

// outcome is what became of a version record whose PutVersion failed.
type outcome int

const (
	refused   outcome = iota // it is not committed, and will not be
	committed                // it is in the store
	taken                    // another record has its number
	unknown
)

// outcome reads what the store has: the answer of PutVersion may have been lost, or the request was sent twice and the second found
// what the first had written. It also reads when ctx has ended, since a commit that has happened cannot be taken back.
func (p *Publisher) outcome(ctx context.Context, rec dataset.VersionRecord, failed error) outcome {
	if dial, ok := errors.AsType[*net.OpError](failed); final(failed) || ok && dial.Op == "dial" && !errors.Is(failed, store.ErrUnknown) {
		return refused
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doubtTimeout)
	defer cancel()
	there, err := p.deps.Store.Version(ctx, rec.Dataset, rec.Version)
	switch {
	case errors.Is(err, store.ErrNotFound) && !mayArrive(failed):
		return refused
	case errors.Is(failed, store.ErrExists) && err != nil:
		return taken
	case err != nil:
		return unknown
	}
	// The creation time to the nanosecond tells two publishers of the same content apart.
	a, errA := rec.Encode()
	b, errB := there.Encode()
	if errA == nil && errB == nil && bytes.Equal(a, b) {
		return committed
	}
	return taken
}

// final reports whether err of PutVersion says that nothing was written, whatever the store has.
func final(err error) bool {
	return errors.Is(err, store.ErrGap) || errors.Is(err, store.ErrUnusable) || errors.Is(err, dataset.ErrVersionRecord)
}

// mayArrive reports whether the request whose error err is may still reach the store: its context ended, or its connection broke.
func mayArrive(err error) bool {
	for _, e := range []error{
		store.ErrUnknown, context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, io.EOF, io.ErrUnexpectedEOF,
		syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
