package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// maxCountedBytes is the most raw bytes of blocks that a patch decodes at a time to add up a group. A chain with more of them
// is compacted first, to one snapshot with one block for the group.
const maxCountedBytes = 3 * dataset.MaxGroupBytes / 2

// groupTooLarge refuses a record with which no instance could load the version.
func groupTooLarge(name string, line int, key []byte) error {
	return &InputError{
		Dataset: name, Line: line, Key: string(key),
		Problem: fmt.Sprintf("the records whose keys have hashes with the same %d leading bits as this key's have more than %d bytes, so that no instance could load the version",
			dataset.GroupBits, dataset.MaxGroupBytes),
		Hint: "publish shorter values for such keys, or other keys", Err: snapshot.ErrGroupSize,
	}
}

// deltaTooLarge refuses a patch whose changes do not fit into a delta.
func deltaTooLarge(name, key string) error {
	return &InputError{
		Dataset: name, Key: key,
		Problem: fmt.Sprintf("the changes to records whose keys have hashes with the same %d leading bits as this key's have more than %d bytes, so that no delta holds them",
			dataset.GroupBits, dataset.MaxGroupBytes),
		Hint: "publish all records of the dataset, or split the patch into several", Err: snapshot.ErrBlockSize,
	}
}

// checkGroups refuses changes, in order, that lead to a version which no instance could load. It returns a chain to newest: c,
// or a shorter one. After has the sums of the version that the changes lead to.
//
// Most patches are done with the sums of the version, or with the lengths of the blocks that the records of a group are in.
// Only if these may be too large does checkGroups read them.
func (p *Publisher) checkGroups(ctx context.Context, d *draft, newest, after dataset.VersionRecord, c history.Chain, changes *tape.Tape) (history.Chain, error) {
	if after.PayloadBytes+dataset.MaxHeadBytes*after.State.Records <= dataset.MaxGroupBytes {
		return c, nil
	}
	files, err := p.history.Blocks.Open(ctx, d.seed, c.Objects())
	if err != nil {
		return c, err
	}
	large, blocks, err := d.largeGroups(files, changes)
	if err != nil || len(large) == 0 {
		return c, err
	}
	if blocks > maxCountedBytes && len(c.Deltas) > 0 {
		if c, err = p.shorten(ctx, newest, 1); err != nil {
			return c, err
		}
		if files, err = p.history.Blocks.Open(ctx, d.seed, c.Objects()); err != nil {
			return c, err
		}
	}
	for group, err := range groupsOf(d.seed, changes, large) {
		if err == nil {
			err = p.addUp(ctx, d, files, group)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

// largeGroups returns the groups to which changes add more bytes than are certain to fit, and the raw bytes of the blocks in
// files that hold the largest of these.
func (d *draft) largeGroups(files []*history.File, changes *tape.Tape) (large []uint32, blocks int64, err error) {
	grown := snapshot.NewGroups(d.seed)
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
			return nil, 0, groupTooLarge(d.name, 0, r.Key)
		}
		if of := snapshot.Group(dataset.Hash(d.seed, r.Key)); of != group {
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

// groupsOf yields those of changes that are of the given groups, which are in order. It holds those of one group.
func groupsOf(seed uint64, changes *tape.Tape, groups []uint32) iter.Seq2[groupChanges, error] {
	return func(yield func(groupChanges, error) bool) {
		var g groupChanges
		for r, err := range changes.Records() {
			if err != nil {
				yield(g, err)
				return
			}
			of := snapshot.Group(dataset.Hash(seed, r.Key))
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

// addUp refuses the changes of a group that make it too large: the last of their records is named.
func (p *Publisher) addUp(ctx context.Context, d *draft, files []*history.File, g groupChanges) error {
	streams := make([]iter.Seq2[dataset.Record, error], 0, len(files)+1)
	for _, f := range files {
		streams = append(streams, p.history.Blocks.Group(ctx, f, g.group))
	}
	streams = append(streams, func(yield func(dataset.Record, error) bool) {
		for _, r := range g.entries {
			if !yield(r, nil) {
				return
			}
		}
	})
	sum := snapshot.NewGroups(d.seed)
	for r, err := range snapshot.Merge(d.seed, streams[0], streams[1:]...) {
		if err == nil {
			err = sum.Add(r)
		}
		switch {
		case errors.Is(err, snapshot.ErrGroupSize):
			for _, r := range g.entries {
				if !r.Removed {
					err = groupTooLarge(d.name, 0, r.Key)
				}
			}
			return err
		case err != nil:
			return err
		}
	}
	return ctx.Err()
}
