package build

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/tape"
)

// Renews reports whether content equal to latest's makes a version: the promise differs from latest's, or a third of its time
// has passed.
//
//   - A pipeline that promises twice its period renews with every run, whether a run is early or late.
//   - Without a version, data that is confirmed to be unchanged would soon look overdue.
//   - With a version for each run, a pipeline that runs often would make versions for nothing.
//   - A time that is as far ahead comes from a wrong clock, and would hide for as long that the data is overdue.
func (m Meta) Renews(latest dataset.VersionRecord) bool {
	promise := m.Promise(latest)
	return promise != latest.ExpectEvery || promise > 0 && clock.Now().Sub(latest.Created).Abs() > promise/3
}

// DroppedLabels warns of labels that are not kept, because no version is made: the content is latest's.
func (m Meta) DroppedLabels(latest dataset.VersionRecord) []string {
	if len(m.Labels) == 0 || maps.Equal(m.Labels, latest.Labels) {
		return nil
	}
	return []string{fmt.Sprintf("the labels %s are not kept: nothing changed, so no version was made, and version %d keeps its own; publish them with the next change",
		strings.Join(slices.Sorted(maps.Keys(m.Labels)), ", "), latest.Version)}
}

// renew makes the next version, which has the content of latest, lead on from latest by a delta without changes. It does not compare the
// content. Heal has verified the objects of latest; renew verifies a snapshot that a compaction wrote.
func (f *Full) renew(ctx context.Context, latest dataset.VersionRecord, p *plan) error {
	c, err := f.history.Chains.Shortest(ctx, latest)
	if err != nil {
		return err
	}
	if c.Snapshot != latest.Snapshot {
		if err := f.verifyOnce(ctx, c.Snapshot); versions.IsLost(err) {
			c = versions.Named(latest)
		} else if err != nil {
			return err
		}
	}
	if p.delta, err = f.noChanges(ctx, latest); err != nil {
		return err
	}
	if f.builder.cfg.Limits.Exceeded(append(slices.Clone(c.Deltas), p.delta.Object), c.Snapshot.Bytes) {
		return f.writeSnapshot(ctx, p)
	}
	p.rec.Snapshot = c.Snapshot
	return nil
}

// noChanges writes the delta from latest to a version with the same content.
func (f *Full) noChanges(ctx context.Context, latest dataset.VersionRecord) (Delta, error) {
	folder := f.draft.folder
	return f.builder.Write(ctx, folder, tape.New(folder.Path("nothing")), latest, latest.State)
}
