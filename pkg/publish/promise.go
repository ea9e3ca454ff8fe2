package publish

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/tape"
)

// promise returns the cadence that the version after before promises: the input's, or else the one promised already.
func (in Input) promise(before dataset.VersionRecord) time.Duration {
	if in.ExpectEvery != nil {
		return *in.ExpectEvery
	}
	return before.ExpectEvery
}

// checkPromise says why every cannot be promised.
func checkPromise(every *time.Duration) error {
	if every == nil || *every == 0 || *every >= dataset.MinExpectEvery && *every <= dataset.MaxExpectEvery {
		return nil
	}
	return fmt.Errorf("a new version every %v cannot be promised", *every)
}

// renews reports whether equal content makes a version: the promise differs from latest's, or a third of its time has passed. A
// pipeline that promises twice its period renews with every run, however early or late a run is. The pipeline has run, and the data
// is as good as new; without a version it would soon look overdue, and with one for each run a pipeline that runs often would make
// versions for nothing. A time that is as far ahead is of a
// clock that was wrong, and would hide for as long that the data is overdue.
func renews(latest dataset.VersionRecord, promise time.Duration) bool {
	return promise != latest.ExpectEvery || promise > 0 && clock.Now().Sub(latest.Created).Abs() > promise/3
}

// renew makes rec, which has the content of latest, lead on from it by a delta without changes. It does not compare the
// content. The objects of latest were verified by heal; a snapshot that was written since is verified here.
func (p *Publisher) renew(ctx context.Context, d *draft, latest dataset.VersionRecord, rec *dataset.VersionRecord) error {
	c, err := p.history.Chains.Shortest(ctx, latest)
	if err != nil {
		return err
	}
	if c.Snapshot != latest.Snapshot {
		if err := p.verifyOnce(ctx, d, c.Snapshot); history.IsLost(err) {
			c = history.Named(latest)
		} else if err != nil {
			return err
		}
	}
	made, err := p.noChanges(ctx, d, latest)
	if err != nil {
		return err
	}
	rec.Snapshot = c.Snapshot
	if p.limits.Exceeded(append(slices.Clone(c.Deltas), made.object), c.Snapshot.Bytes) {
		if err := p.putSnapshot(ctx, d, rec); err != nil {
			return err
		}
	}
	return p.putDelta(ctx, latest, made, rec)
}

// noChanges writes the delta that leads from latest to a version with the same content.
func (p *Publisher) noChanges(ctx context.Context, d *draft, latest dataset.VersionRecord) (delta, error) {
	return p.writeDelta(ctx, d.folder, tape.New(d.folder.Path("nothing")), latest, latest.State, dataset.Changes{})
}

// labelsDropped warns of labels that are not kept, because no version is made: the content is latest's.
func labelsDropped(labels map[string]string, latest dataset.VersionRecord) []string {
	if len(labels) == 0 || maps.Equal(labels, latest.Labels) {
		return nil
	}
	return []string{fmt.Sprintf("the labels %s are not kept: nothing changed, so no version was made, and version %d keeps its own; publish them with the next change",
		strings.Join(slices.Sorted(maps.Keys(labels)), ", "), latest.Version)}
}
