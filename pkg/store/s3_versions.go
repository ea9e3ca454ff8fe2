package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
	"github.com/sourcegraph/conc/iter"

	"freshet.dev/pkg/dataset"
)

// readLanes is how many small requests travel at once where many are needed.
const readLanes = 8

func (s *s3) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	newest, err := s.findNewest(ctx, rec.Dataset)
	if err != nil {
		return err
	}
	if err := checkNext(rec, newest.version); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	etag, err := s.commit(ctx, recordName(rec.Dataset, rec.Version), b)
	if err != nil {
		return fmt.Errorf("commit %s: %w", rec.ID(), err)
	}
	s.remember(rec.Dataset, seenRecord{version: rec.Version, etag: etag, content: b})
	return nil
}

func (s *s3) Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.VersionRecord{}, err
	}
	b, _, err := s.readRecord(ctx, recordName(name, version))
	if errors.Is(err, ErrNotFound) {
		return dataset.VersionRecord{}, fmt.Errorf("%s version %d: %w %s", name, version, ErrNotFound, s)
	}
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	return decodeRecord(b, name, version, s.full(recordName(name, version)))
}

// readRecord returns what lies at the key, or ErrNotFound.
func (s *s3) readRecord(ctx context.Context, name string) (content []byte, etag string, err error) {
	body, info, _, err := s.core.GetObject(ctx, s.settings.bucket, s.key(name), minio.GetObjectOptions{})
	if isCode(err, minio.NoSuchKey) {
		return nil, "", ErrNotFound
	}
	if err != nil {
		return nil, "", s.failed("read version record", name, err)
	}
	defer body.Close()
	// One byte over the limit is enough to be refused as no JSON.
	b, err := io.ReadAll(io.LimitReader(body, dataset.MaxRecordBytes+1))
	if err != nil {
		return nil, "", s.failed("read version record", name, err)
	}
	return b, info.ETag, nil
}

// Latest costs one list request while nothing is new, and one read more for a version not seen before.
func (s *s3) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	newest, err := s.findNewest(ctx, name)
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	if newest.version == 0 {
		return dataset.VersionRecord{}, fmt.Errorf("a version of dataset %s: %w %s", name, ErrNotFound, s)
	}
	rec, err := s.recordOf(ctx, name, &newest)
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	s.remember(name, newest)
	return rec, nil
}

// recordOf returns the record that was seen, and reads its content if that is not known.
func (s *s3) recordOf(ctx context.Context, name string, seen *seenRecord) (rec dataset.VersionRecord, err error) {
	file := recordName(name, seen.version)
	if seen.content == nil {
		seen.content, seen.etag, err = s.readRecord(ctx, file)
		if errors.Is(err, ErrNotFound) {
			err = missingRecord(name, seen.version, seen.version, s.full(file))
		}
		if err != nil {
			return dataset.VersionRecord{}, err
		}
	}
	return decodeRecord(seen.content, name, seen.version, s.full(file))
}

func (s *s3) Versions(ctx context.Context, name string, before uint64, limit int) ([]dataset.VersionRecord, error) {
	newest, err := s.findNewest(ctx, name)
	if err != nil {
		return nil, err
	}
	from, n := page(newest.version, before, limit)
	wanted := make([]uint64, n)
	for i := range wanted {
		wanted[i] = from - uint64(i)
	}
	type answer struct {
		rec dataset.VersionRecord
		err error
	}
	answers := iter.Mapper[uint64, answer]{MaxGoroutines: readLanes}.Map(wanted, func(version *uint64) answer {
		rec, err := s.Version(ctx, name, *version)
		if errors.Is(err, ErrNotFound) {
			err = missingRecord(name, *version, newest.version, s.full(recordName(name, *version)))
		}
		return answer{rec, err}
	})
	var recs []dataset.VersionRecord
	var damaged RecordErrors
	for _, a := range answers {
		switch {
		case a.err == nil:
			recs = append(recs, a.rec)
		case !damaged.add(a.err):
			return recs, a.err
		}
	}
	return recs, damaged.orNil()
}
