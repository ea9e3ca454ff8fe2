package store

import (
	"context"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/dataset"
)

// findNewest returns the dataset's newest version record, with its content if that is known.
//
// It costs one list request as long as no more than a page (1000) of versions came since the last look, else about
// 2*log2(versions since, in pages) more: a listing can begin anywhere, so the last page is found by doubling and
// halving. That rests on order alone, not on there being no gap.
func (s *s3) findNewest(ctx context.Context, name string) (seenRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return seenRecord{}, err
	}
	s.mu.Lock()
	known := s.newest[name]
	s.mu.Unlock()
	// From the known one on, and not from the one after: if it is gone or another, the store was replaced by a
	// copy, and nothing that we know of it holds.
	found, err := s.listFrom(ctx, versionsName(name), known.version, s.pageKeys)
	if err == nil && known.version > 0 && (len(found) == 0 || found[0].version != known.version) {
		found, err = s.listFrom(ctx, versionsName(name), 0, s.pageKeys)
	}
	for err == nil && len(found) == s.pageKeys {
		var low uint64
		if low, err = s.nearEnd(ctx, name, found[len(found)-1].version); err == nil {
			found, err = s.listFrom(ctx, versionsName(name), low, s.pageKeys)
		}
	}
	if err != nil {
		return seenRecord{}, err
	}
	var newest seenRecord
	if len(found) > 0 {
		newest = found[len(found)-1]
	}
	s.mu.Lock()
	s.listed[name] = time.Now()
	s.mu.Unlock()
	if newest.version == known.version && newest.etag == known.etag {
		return known, nil
	}
	s.remember(name, newest)
	return newest, nil
}

// remember makes rec what the next search begins with.
func (s *s3) remember(name string, rec seenRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest[name] = rec
}

// nearEnd returns a version that exists, from low on, less than a page before the newest.
func (s *s3) nearEnd(ctx context.Context, name string, low uint64) (uint64, error) {
	page := uint64(s.pageKeys)
	step := page
	for { // low exists
		found, err := s.listFrom(ctx, versionsName(name), low+step, 1)
		if err != nil {
			return 0, err
		}
		if len(found) == 0 {
			break
		}
		low = found[0].version
		step *= 2
	}
	for high := low + step; high-low >= page; { // none exists from high on
		mid := low + (high-low)/2
		found, err := s.listFrom(ctx, versionsName(name), mid, 1)
		if err != nil {
			return 0, err
		}
		if len(found) > 0 {
			low = found[0].version
		} else {
			high = mid
		}
	}
	return low, nil
}

// listFrom returns the first most versions that have a record in the folder, from the version from on, in order.
func (s *s3) listFrom(ctx context.Context, folder string, from uint64, most int) ([]seenRecord, error) {
	prefix := s.key(folder) + "/"
	opts := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, MaxKeys: most}
	if from > 0 {
		opts.StartAfter = prefix + recordFile(from-1)
	}
	var found []seenRecord
	for entry := range s.core.ListObjectsIter(ctx, s.settings.bucket, opts) {
		if entry.Err != nil {
			return nil, s.failed("list", folder+"/", entry.Err)
		}
		version, ok := parseRecordFile(strings.TrimPrefix(entry.Key, prefix))
		if !ok {
			continue
		}
		if found = append(found, seenRecord{version: version, etag: entry.ETag}); len(found) == most {
			break
		}
	}
	if err := context.Cause(ctx); err != nil { // at which the listing ends without an error
		return nil, s.failed("list", folder+"/", err)
	}
	return found, nil
}
