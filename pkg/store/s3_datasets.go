package store

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sourcegraph/conc/iter"

	"freshet.dev/pkg/dataset"
)

func (s *s3) Datasets(ctx context.Context) ([]string, error) {
	names, err := s.folders(ctx)
	if err != nil {
		return nil, err
	}
	// What lies there need not be version records.
	newest, err := iter.Mapper[string, seenRecord]{MaxGoroutines: readLanes}.MapErr(names, func(name *string) (seenRecord, error) {
		return s.findNewest(ctx, *name)
	})
	if err != nil {
		return nil, err
	}
	var found []string
	for i, name := range names {
		if newest[i].version > 0 {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found, nil
}

// folders returns the names of the folders that version records lie in.
func (s *s3) folders(ctx context.Context) ([]string, error) {
	var names []string
	folders := minio.ListObjectsOptions{Prefix: s.key(versionsFolder + "/")} // not recursive
	for entry := range s.core.ListObjectsIter(ctx, s.settings.bucket, folders) {
		if entry.Err != nil {
			return nil, s.failed("list", versionsFolder+"/", entry.Err)
		}
		name := path.Base(entry.Key)
		if strings.HasSuffix(entry.Key, "/") && dataset.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	if err := context.Cause(ctx); err != nil { // at which the listing ends without an error
		return nil, s.failed("list", versionsFolder+"/", err)
	}
	return names, nil
}

func (s *s3) Newest(ctx context.Context) (newest map[string]dataset.Ref, unread map[string]error, err error) {
	names, err := s.folders(ctx)
	if err != nil {
		return nil, nil, err
	}
	newest, unread = s.rounds.read(ctx, names, func(name string) (dataset.Ref, error) { return s.nextOf(ctx, name) })
	return newest, unread, nil
}

// nextOf returns the newest version of a dataset, zero if it has none. It lists nothing while there is none after the one
// that is known, and that was found by a listing not long ago. A record that was not seen before is read.
func (s *s3) nextOf(ctx context.Context, name string) (dataset.Ref, error) {
	s.mu.Lock()
	known, listed := s.newest[name], s.listed[name]
	s.mu.Unlock()
	if known.version > 0 && time.Since(listed) < s.lookAnew {
		file := recordName(name, known.version+1)
		_, err := s.core.StatObject(ctx, s.settings.bucket, s.key(file), minio.StatObjectOptions{})
		switch {
		case isCode(err, minio.NoSuchKey):
			return s.refOf(ctx, name, known)
		case err != nil:
			return dataset.Ref{}, s.failed("look for version record", file, err)
		}
	}
	found, err := s.findNewest(ctx, name)
	if err != nil || found.version == 0 {
		return dataset.Ref{}, err
	}
	return s.refOf(ctx, name, found)
}

// refOf returns the version of a record with its id.
func (s *s3) refOf(ctx context.Context, name string, seen seenRecord) (dataset.Ref, error) {
	if seen.id.IsZero() {
		rec, err := s.recordOf(ctx, name, &seen)
		if err != nil {
			return dataset.Ref{}, err
		}
		seen.id = rec.VersionID()
		s.remember(name, seen)
	}
	return dataset.Ref{Version: seen.version, ID: seen.id}, nil
}
