package history

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/snapshot"
)

// Version is one committed version of a dataset. It is safe for concurrent use.
type Version struct {
	reader *Reader
	record dataset.VersionRecord
	chain  versions.Chain // the shortest that leads to the version
}

// Record returns the version record.
func (v *Version) Record() dataset.VersionRecord { return v.record }

// Get returns the values of the records with the keys, in the order of the keys. A value is nil if there is no such record, and never nil
// if there is.
func (v *Version) Get(ctx context.Context, keys ...[]byte) ([][]byte, error) {
	queries, places := v.queries(keys)
	values := make([][]byte, len(keys))
	err := v.values(ctx, queries, func(i int, value []byte) error {
		value = bytes.Clone(value)
		for _, at := range places[string(queries[i].Key)] {
			values[at] = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// queries returns a query for each key, in the order of Values, without duplicates, and the places of each key in keys.
func (v *Version) queries(keys [][]byte) (queries []versions.Query, places map[string][]int) {
	places = make(map[string][]int, len(keys))
	for i, key := range keys {
		if len(places[string(key)]) == 0 {
			queries = append(queries, versions.Query{Record: dataset.Record{Key: key}, Hash: dataset.Hash(uint64(v.record.Seed), key)})
		}
		places[string(key)] = append(places[string(key)], i)
	}
	slices.SortFunc(queries, func(a, b versions.Query) int {
		return cmp.Or(cmp.Compare(a.Hash, b.Hash), bytes.Compare(a.Key, b.Key))
	})
	return queries, places
}

// values calls use for each query, in order, with the value of its record; nil if there is none. The value is valid during the call.
// Queries are in the order of (hash, key).
func (v *Version) values(ctx context.Context, queries []versions.Query, use func(i int, value []byte) error) error {
	next := 0 // the first query that use has not been called for
	err := v.reader.versions.Chains.Read(ctx, v.record, v.chain, func(chain versions.Chain) error {
		first := next
		return v.reader.versions.Blocks.Values(ctx, v.record, chain, queries[first:], func(i int, value []byte) error {
			next = first + i + 1
			return use(first+i, value)
		})
	})
	return v.reader.failed(ctx, v.record, err)
}

// Records yields the records of the version in the order of (hash, key), from the one after the key after on; an empty after is the
// beginning. The key need not be in the version. A record is valid until the next iteration. If it starts at the beginning, Records ends
// with an error unless all records together have the state checksum of the version: a consumer that must not act on a part waits for
// the end. It yields an error once, last, with a zero record.
func (v *Version) Records(ctx context.Context, after []byte) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		seed := uint64(v.record.Seed)
		whole, last := len(after) == 0, bytes.Clone(after)
		var state dataset.Checksum
		var encoded []byte
		for chain := v.chain; ; chain = versions.Named(v.record) {
			var failed error
			for r, err := range v.reader.versions.Blocks.Scan(ctx, v.record, chain, last) {
				if err != nil {
					failed = err
					break
				}
				last = append(last[:0], r.Key...)
				if whole {
					encoded = dataset.AppendRecord(encoded[:0], r)
					state.Add(seed, encoded)
				}
				if !yield(r, nil) {
					return
				}
			}
			if failed != nil && chain.Snapshot != v.record.Snapshot && versions.IsLost(failed) {
				v.reader.versions.Chains.LogUnusable(ctx, v.record.Dataset, failed)
				continue // with the chain that the record names, after the last record
			}
			if failed == nil && whole && state != v.record.State {
				failed = fmt.Errorf("%w: its objects make state %v, its record says %v", snapshot.ErrCorrupt, state, v.record.State)
			}
			if failed != nil {
				yield(dataset.Record{}, v.reader.failed(ctx, v.record, failed))
			}
			return
		}
	}
}

// maxScan is how many records Keys reads for one page.
const maxScan = 1 << 20

// KeyPage is a page of the keys of a version.
type KeyPage struct {
	Keys [][]byte
	// Next is the after of the next page; nil on the last.
	Next []byte
}

// Keys returns up to limit keys of the version that begin with the prefix, in the order of (hash, key), from the one that follows the
// key after on; an empty after is the beginning. The order does not follow the prefix, so all pages together read the whole version. One
// page reads about a million records at most: it may have fewer keys than limit, or none, and a Next.
func (v *Version) Keys(ctx context.Context, prefix, after []byte, limit int) (KeyPage, error) {
	var page KeyPage
	if limit < 1 {
		return page, fmt.Errorf("list the keys of version %d of dataset %s: the limit is %d; want 1 or more", v.record.Version, v.record.Dataset, limit)
	}
	read := 0
	var last []byte
	for r, err := range v.Records(ctx, after) {
		if err != nil {
			return KeyPage{}, err
		}
		if len(page.Keys) == limit || read == maxScan {
			page.Next = last
			break
		}
		read++
		last = append(last[:0], r.Key...)
		if bytes.HasPrefix(r.Key, prefix) {
			page.Keys = append(page.Keys, bytes.Clone(r.Key))
		}
	}
	return page, nil
}
