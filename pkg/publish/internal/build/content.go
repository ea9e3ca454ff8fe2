package build

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/snapshot"
)

// content returns what gates see of the draft's records, of which those that change in place have the given number of bytes.
func (d *Draft) content(changed uint64) commit.Content {
	c := commit.Content{ChangedBytes: changed, Records: d.Records, Whole: true}
	if d.in.Places != nil {
		c.Line, c.Place = func() int { return d.sorter.Line() }, d.in.Places.Describe
	}
	return c
}

// Content returns what gates see of the version after newest that delta leads to, of whose records those that change in place have the given
// number of bytes. c leads to newest.
func (b *Builder) Content(newest dataset.VersionRecord, c versions.Chain, delta Delta, changed uint64) commit.Content {
	return commit.Content{ChangedBytes: changed, Records: delta.Records, Lacking: func(ctx context.Context, keys []string) ([]string, error) {
		return b.lacking(ctx, newest, c, keys)
	}}
}

// lacking returns those of the keys that the version of rec, which c leads to, lacks. There are at most [dataset.MaxRequiredKeys].
func (b *Builder) lacking(ctx context.Context, rec dataset.VersionRecord, c versions.Chain, keys []string) (lacking []string, err error) {
	queries := make([]versions.Query, len(keys))
	err = b.history.Chains.Read(ctx, rec, c, func(by versions.Chain) error {
		for i, key := range keys {
			queries[i] = versions.Query{Record: dataset.Record{Key: []byte(key)}, Hash: dataset.Hash(uint64(rec.Seed), []byte(key))}
		}
		slices.SortFunc(queries, func(a, b versions.Query) int { return cmp.Or(cmp.Compare(a.Hash, b.Hash), bytes.Compare(a.Key, b.Key)) })
		return b.history.Blocks.Lookup(ctx, rec, by, queries)
	})
	for _, q := range queries {
		if !q.Exists {
			lacking = append(lacking, string(q.Key))
		}
	}
	return lacking, err
}

// Records yields the entries of the delta.
func (d Delta) Records(ctx context.Context) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		f, err := os.Open(d.Path)
		if err != nil {
			yield(dataset.Record{}, err)
			return
		}
		defer f.Close() // it was only read
		r, err := snapshot.NewReader(f, snapshot.Expect(d.Object))
		if err != nil {
			yield(dataset.Record{}, fmt.Errorf("read the delta that was just written: %w", err))
			return
		}
		n := 0
		for record, err := range r.Records() {
			if n%checkEvery == 0 && ctx.Err() != nil {
				record, err = dataset.Record{}, context.Cause(ctx)
			}
			n++
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}
