package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
	"github.com/sourcegraph/conc/iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// PutVersion implements [store.Store].
func (s *Store) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	newest, err := s.findNewest(ctx, rec.Dataset)
	if err != nil {
		return err
	}
	if err := records.CheckNext(rec, newest.version); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	etag, err := s.commit(ctx, layout.Version(rec.Dataset, rec.Version), b)
	if err != nil {
		return fmt.Errorf("commit %s: %w", rec.ID(), err)
	}
	s.remember(layout.Versions(rec.Dataset), knownRecord{version: rec.Version, etag: etag, content: b})
	return nil
}

// Version implements [store.Store].
func (s *Store) Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.VersionRecord{}, err
	}
	b, _, err := s.readRecord(ctx, layout.Version(name, version))
	if errors.Is(err, store.ErrNotFound) {
		return dataset.VersionRecord{}, records.NoVersion(name, version, s)
	}
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	return records.DecodeVersion(b, name, version, s.full(layout.Version(name, version)))
}

// readRecord returns the content and the etag of a record. It fails with [store.ErrNotFound].
func (s *Store) readRecord(ctx context.Context, name string) (content []byte, etag string, err error) {
	body, info, _, err := s.core.GetObject(ctx, s.settings.bucket, s.key(name), minio.GetObjectOptions{})
	if isCode(err, minio.NoSuchKey) {
		return nil, "", store.ErrNotFound
	}
	if err != nil {
		return nil, "", s.failed("read version record", name, err)
	}
	defer body.Close()
	// With one byte over the limit the decoder refuses the record.
	b, err := io.ReadAll(io.LimitReader(body, dataset.MaxRecordBytes+1))
	if err != nil {
		return nil, "", s.failed("read version record", name, err)
	}
	return b, info.ETag, nil
}

// Latest implements [store.Store]. It costs one list request, and a read of a version that this Store has not read.
func (s *Store) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	newest, err := s.findNewest(ctx, name)
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	if newest.version == 0 {
		return dataset.VersionRecord{}, records.NoVersions(name, s)
	}
	rec, err := s.record(ctx, name, &newest)
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	s.remember(layout.Versions(name), newest)
	return rec, nil
}

// record returns the record of a known version. It reads the content, and adds it to known, if it was not read before.
func (s *Store) record(ctx context.Context, name string, known *knownRecord) (rec dataset.VersionRecord, err error) {
	file := layout.Version(name, known.version)
	if known.content == nil {
		known.content, known.etag, err = s.readRecord(ctx, file)
		if errors.Is(err, store.ErrNotFound) {
			err = records.MissingVersion(name, known.version, known.version, s.full(file))
		}
		if err != nil {
			return dataset.VersionRecord{}, err
		}
	}
	return records.DecodeVersion(known.content, name, known.version, s.full(file))
}

// Versions implements [store.Store].
func (s *Store) Versions(ctx context.Context, name string, before uint64, limit int) ([]dataset.VersionRecord, error) {
	newest, err := s.findNewest(ctx, name)
	if err != nil {
		return nil, err
	}
	from, n := records.Page(newest.version, before, limit)
	versions := make([]uint64, n)
	for i := range versions {
		versions[i] = from - uint64(i)
	}
	type answer struct {
		rec dataset.VersionRecord
		err error
	}
	answers := iter.Mapper[uint64, answer]{MaxGoroutines: readConcurrency}.Map(versions, func(version *uint64) answer {
		rec, err := s.Version(ctx, name, *version)
		if errors.Is(err, store.ErrNotFound) {
			err = records.MissingVersion(name, *version, newest.version, s.full(layout.Version(name, *version)))
		}
		return answer{rec, err}
	})
	var list records.List
	for _, a := range answers {
		if err := list.Add(a.rec, a.err); err != nil {
			return list.Records(), err
		}
	}
	return list.Records(), list.Err()
}
