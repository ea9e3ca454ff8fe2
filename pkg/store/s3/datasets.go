package s3

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/internal/layout"
)

// Datasets implements [store.Store].
func (s *Store) Datasets(ctx context.Context) ([]string, error) {
	return s.foldersWithRecords(ctx, layout.VersionsFolder)
}

// folders returns the names of the datasets whose folders in folder may have records.
func (s *Store) folders(ctx context.Context, folder string) ([]string, error) {
	var names []string
	folders := minio.ListObjectsOptions{Prefix: s.key(folder + "/")} // not recursive
	for entry := range s.core.ListObjectsIter(ctx, s.settings.bucket, folders) {
		if entry.Err != nil {
			return nil, s.failed("list", folder+"/", entry.Err)
		}
		name := path.Base(entry.Key)
		if strings.HasSuffix(entry.Key, "/") && dataset.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	if err := context.Cause(ctx); err != nil { // the listing then ends without an error
		return nil, s.failed("list", folder+"/", err)
	}
	return names, nil
}

// Newest implements [store.Store].
func (s *Store) Newest(ctx context.Context) (newest map[string]dataset.Ref, unread map[string]error, err error) {
	names, err := s.folders(ctx, layout.VersionsFolder)
	if err != nil {
		return nil, nil, err
	}
	newest, unread = s.datasets.Read(ctx, names, func(name string) (dataset.Ref, error) { return s.newestRef(ctx, name) })
	return newest, unread, nil
}

// newestRef returns the newest version of a dataset, the zero Ref if it has none. It does not list the dataset while there is no version
// after the known one and the last listing is recent. It reads a record that was not read before.
func (s *Store) newestRef(ctx context.Context, name string) (dataset.Ref, error) {
	folder := layout.Versions(name)
	s.mu.Lock()
	known, listed := s.newest[folder], s.listed[folder]
	s.mu.Unlock()
	if known.version > 0 && time.Since(listed) < s.listInterval {
		file := layout.Version(name, known.version+1)
		_, err := s.core.StatObject(ctx, s.settings.bucket, s.key(file), minio.StatObjectOptions{})
		switch {
		case isCode(err, minio.NoSuchKey):
			return s.ref(ctx, name, known)
		case err != nil:
			return dataset.Ref{}, s.failed("look for version record", file, err)
		}
	}
	newest, err := s.findNewest(ctx, name)
	if err != nil || newest.version == 0 {
		return dataset.Ref{}, err
	}
	return s.ref(ctx, name, newest)
}

// ref returns the version and the version id of a record.
func (s *Store) ref(ctx context.Context, name string, known knownRecord) (dataset.Ref, error) {
	if known.id.IsZero() {
		rec, err := s.record(ctx, name, &known)
		if err != nil {
			return dataset.Ref{}, err
		}
		known.id = rec.VersionID()
		s.remember(layout.Versions(name), known)
	}
	return dataset.Ref{Version: known.version, ID: known.id}, nil
}
