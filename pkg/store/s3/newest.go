package s3

import (
	"context"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/internal/layout"
)

// findNewest returns the dataset's newest version record, with its content if that is known.
func (s *Store) findNewest(ctx context.Context, name string) (knownRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return knownRecord{}, err
	}
	return s.newestIn(ctx, layout.Versions(name))
}

// newestIn returns the record with the highest number in the folder, with its content if that is known.
//
// It costs one list request for up to a page (1000) of records since the last call, else about 2*log2(pages since) more. A listing can
// start anywhere, so newestIn finds the last page by doubling and halving. That relies on the order of numbers only, and works also if
// records are missing.
func (s *Store) newestIn(ctx context.Context, folder string) (knownRecord, error) {
	s.mu.Lock()
	known := s.newest[folder]
	s.mu.Unlock()
	// The listing starts at the known record, not after it. If that record is missing or has another content, a copy replaced the
	// store, and the known record is of no use.
	records, err := s.listFrom(ctx, folder, known.version, s.pageKeys)
	if err == nil && known.version > 0 && (len(records) == 0 || records[0].version != known.version) {
		records, err = s.listFrom(ctx, folder, 0, s.pageKeys)
	}
	for err == nil && len(records) == s.pageKeys {
		var low uint64
		if low, err = s.nearEnd(ctx, folder, records[len(records)-1].version); err == nil {
			records, err = s.listFrom(ctx, folder, low, s.pageKeys)
		}
	}
	if err != nil {
		return knownRecord{}, err
	}
	var newest knownRecord
	if len(records) > 0 {
		newest = records[len(records)-1]
	}
	s.mu.Lock()
	s.listed[folder] = time.Now()
	s.mu.Unlock()
	if newest.version == known.version && newest.etag == known.etag {
		return known, nil
	}
	s.remember(folder, newest)
	return newest, nil
}

// remember records rec as the newest record of the folder, at which the next search starts.
func (s *Store) remember(folder string, rec knownRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest[folder] = rec
}

// nearEnd returns the number of an existing record that is low or later, and less than a page before the newest.
func (s *Store) nearEnd(ctx context.Context, folder string, low uint64) (uint64, error) {
	page := uint64(s.pageKeys)
	stride := page
	for { // low exists
		next, err := s.listFrom(ctx, folder, low+stride, 1)
		if err != nil {
			return 0, err
		}
		if len(next) == 0 {
			break
		}
		low = next[0].version
		stride *= 2
	}
	for high := low + stride; high-low >= page; { // no version from high on exists
		mid := low + (high-low)/2
		next, err := s.listFrom(ctx, folder, mid, 1)
		if err != nil {
			return 0, err
		}
		if len(next) > 0 {
			low = next[0].version
		} else {
			high = mid
		}
	}
	return low, nil
}

// listFrom returns at most limit versions that have a record in the folder, from the version from on, in order.
func (s *Store) listFrom(ctx context.Context, folder string, from uint64, limit int) ([]knownRecord, error) {
	prefix := s.key(folder) + "/"
	opts := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, MaxKeys: limit}
	if from > 0 {
		opts.StartAfter = prefix + layout.RecordFile(from-1)
	}
	var versions []knownRecord
	for entry := range s.core.ListObjectsIter(ctx, s.settings.bucket, opts) {
		if entry.Err != nil {
			return nil, s.failed("list", folder+"/", entry.Err)
		}
		version, ok := layout.ParseRecordFile(strings.TrimPrefix(entry.Key, prefix))
		if !ok {
			continue
		}
		if versions = append(versions, knownRecord{version: version, etag: entry.ETag}); len(versions) == limit {
			break
		}
	}
	if err := context.Cause(ctx); err != nil { // the listing then ends without an error
		return nil, s.failed("list", folder+"/", err)
	}
	return versions, nil
}
