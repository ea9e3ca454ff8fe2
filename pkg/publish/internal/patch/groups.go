package patch

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// maxCountedBytes is the most raw bytes of blocks that a patch decodes at a time to add up a group. A chain with more of them is
// compacted first, to one snapshot with one block for the group.
const maxCountedBytes = 3 * dataset.MaxGroupBytes / 2

// uncounted is the warning of a dry run that does not count the bytes of groups.
var uncounted = fmt.Sprintf("this dry run did not check whether records whose keys have hashes with the same %d leading bits would have more than %d bytes, "+
	"so that no instance could load the version: the patch itself checks that, with a snapshot that it writes to the store first, and is then refused; "+
	"after a compaction the dry run checks it too", dataset.GroupBits, dataset.MaxGroupBytes)

// checkGroups refuses changes, in order, that lead to a version which no instance could load. It returns a chain to newest: c, or a
// shorter one. After has the sums of the version that the changes lead to.
//
// Most patches need only the sums of the version, or the lengths of the blocks that the records of a group are in. Only if these may
// be too large does checkGroups read the blocks.
func (p *Patch) checkGroups(ctx context.Context, newest, after dataset.VersionRecord, c versions.Chain, changes *tape.Tape) (versions.Chain, error) {
	if after.PayloadBytes+dataset.MaxHeadBytes*after.State.Records <= dataset.MaxGroupBytes {
		return c, nil
	}
	files, err := p.History.Blocks.Open(ctx, p.Seed, c.Objects())
	if err != nil {
		return c, err
	}
	large, blocks, err := p.largeGroups(files, changes)
	if err != nil || len(large) == 0 {
		return c, err
	}
	if blocks > maxCountedBytes && len(c.Deltas) > 0 {
		if p.DryRun {
			p.warnings = append(p.warnings, uncounted) // to count them would write a snapshot to the store, or take too much memory
			return c, nil
		}
		if c, err = p.Compactor.Shorten(ctx, newest, 1); err != nil {
			return c, err
		}
		if files, err = p.History.Blocks.Open(ctx, p.Seed, c.Objects()); err != nil {
			return c, err
		}
	}
	for group, err := range p.groups(changes, large) {
		if err == nil {
			err = p.addUp(ctx, files, group)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

// largeGroups returns the groups to which changes add more bytes than are certain to fit, and the raw bytes of the blocks in files
// that hold the largest of these groups.
func (p *Patch) largeGroups(files []*versions.File, changes *tape.Tape) (large []uint32, blocks int64, err error) {
	grown := snapshot.NewGroups(p.Seed)
	var group uint32
	added := int64(0)
	end := func() {
		if added == 0 {
			return
		}
		bytes := int64(0)
		for _, f := range files {
			bytes += f.GroupBytes(group)
		}
		if bytes+added > dataset.MaxGroupBytes {
			large, blocks = append(large, group), max(blocks, bytes)
		}
	}
	for r, err := range changes.Records() {
		if err != nil {
			return nil, 0, err
		}
		if r.Removed {
			continue
		}
		if err := grown.Add(r); err != nil {
			return nil, 0, build.GroupTooLarge(r.Key)
		}
		if of := snapshot.Group(dataset.Hash(p.Seed, r.Key)); of != group {
			end()
			group, added = of, 0
		}
		added += int64(r.EncodedBytes())
	}
	end()
	return large, blocks, nil
}

// groupChanges are the changes of one group.
type groupChanges struct {
	group   uint32
	entries []dataset.Record
}

// groups yields the changes of the given groups, which are in order. It holds those of one group in memory.
func (p *Patch) groups(changes *tape.Tape, groups []uint32) iter.Seq2[groupChanges, error] {
	return func(yield func(groupChanges, error) bool) {
		var g groupChanges
		for r, err := range changes.Records() {
			if err != nil {
				yield(g, err)
				return
			}
			of := snapshot.Group(dataset.Hash(p.Seed, r.Key))
			if len(g.entries) > 0 && of != g.group {
				if !yield(g, nil) {
					return
				}
				g.entries = nil
			}
			for len(groups) > 0 && groups[0] < of {
				groups = groups[1:]
			}
			if len(groups) > 0 && groups[0] == of {
				g.group, g.entries = of, append(g.entries, clone(r))
			}
		}
		if len(g.entries) > 0 {
			yield(g, nil)
		}
	}
}

// addUp refuses the changes of a group that make the group too large. The refusal names the last of their records.
func (p *Patch) addUp(ctx context.Context, files []*versions.File, g groupChanges) error {
	streams := make([]iter.Seq2[dataset.Record, error], 0, len(files)+1)
	for _, f := range files {
		streams = append(streams, p.History.Blocks.Group(ctx, f, g.group))
	}
	streams = append(streams, func(yield func(dataset.Record, error) bool) {
		for _, r := range g.entries {
			if !yield(r, nil) {
				return
			}
		}
	})
	sum := snapshot.NewGroups(p.Seed)
	for r, err := range snapshot.Merge(p.Seed, streams[0], streams[1:]...) {
		if err == nil {
			err = sum.Add(r)
		}
		switch {
		case errors.Is(err, snapshot.ErrGroupSize):
			for _, r := range g.entries {
				if !r.Removed {
					err = build.GroupTooLarge(r.Key)
				}
			}
			return err
		case err != nil:
			return err
		}
	}
	return ctx.Err()
}
