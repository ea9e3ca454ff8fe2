package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// clockFile is the object that Clock writes.
const clockFile = layout.TmpFolder + "/clock"

// stored returns the time of an object. A HEAD request tells whole seconds, a listing may tell fractions.
func stored(t time.Time) time.Time { return t.Truncate(time.Second) }

// Objects implements [store.Store].
func (s *Store) Objects(ctx context.Context) iter.Seq2[store.StoredObject, error] {
	return func(yield func(store.StoredObject, error) bool) {
		opts := minio.ListObjectsOptions{Prefix: s.key(layout.ObjectsFolder + "/"), Recursive: true, MaxKeys: s.pageKeys}
		for entry := range s.core.ListObjectsIter(ctx, s.settings.bucket, opts) {
			if entry.Err != nil {
				yield(store.StoredObject{}, s.failed("list", layout.ObjectsFolder+"/", entry.Err))
				return
			}
			d, ok := layout.ParseObjectFile(path.Base(entry.Key))
			if ok && !yield(store.StoredObject{Digest: d, Bytes: entry.Size, Modified: stored(entry.LastModified)}, nil) {
				return
			}
		}
		if err := context.Cause(ctx); err != nil { // the listing then ends without an error
			yield(store.StoredObject{}, s.failed("list", layout.ObjectsFolder+"/", err))
		}
	}
}

// RemoveObject implements [store.Store]. It costs a HEAD and a DELETE request.
func (s *Store) RemoveObject(ctx context.Context, o store.StoredObject) (bool, error) {
	name := layout.Object(o.Digest)
	info, err := s.core.StatObject(ctx, s.settings.bucket, s.key(name), minio.StatObjectOptions{})
	switch {
	case isCode(err, minio.NoSuchKey):
		return true, nil
	case err != nil:
		return false, s.failed("look for object", name, err)
	case info.Size != o.Bytes || !stored(info.LastModified).Equal(o.Modified):
		return false, nil
	}
	return true, s.remove(ctx, name)
}

// remove removes a key, which may be missing.
func (s *Store) remove(ctx context.Context, name string) error {
	if err := s.core.RemoveObject(ctx, s.settings.bucket, s.key(name), minio.RemoveObjectOptions{}); err != nil {
		return s.failed("remove", name, err)
	}
	return nil
}

// Clock implements [store.Store]. It costs a PUT and a HEAD request.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	if err := s.overwrite(ctx, clockFile, []byte("the time of this object is that of the server\n")); err != nil {
		return time.Time{}, err
	}
	info, err := s.core.StatObject(ctx, s.settings.bucket, s.key(clockFile), minio.StatObjectOptions{})
	if err != nil {
		return time.Time{}, s.failed("look for", clockFile, err)
	}
	return stored(info.LastModified), nil
}

// overwrite writes a small object, whether it exists or not.
func (s *Store) overwrite(ctx context.Context, name string, b []byte) error {
	digest := dataset.Digest(sha256.Sum256(b))
	if _, err := s.core.PutObject(ctx, s.settings.bucket, s.key(name), bytes.NewReader(b), int64(len(b)), "", digest.String(), objectOptions()); err != nil {
		return s.failed("write", name, err)
	}
	return nil
}

// VersionTimes implements [store.Store]. It costs one list request for each page (1000).
func (s *Store) VersionTimes(ctx context.Context, name string, from uint64, limit int) ([]store.VersionTime, error) {
	if err := dataset.CheckName(name); err != nil {
		return nil, err
	}
	prefix := s.key(layout.Versions(name)) + "/"
	opts := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, MaxKeys: s.pageKeys}
	if from > 0 {
		opts.StartAfter = prefix + layout.RecordFile(from-1)
	}
	var times []store.VersionTime
	for entry := range s.core.ListObjectsIter(ctx, s.settings.bucket, opts) {
		if entry.Err != nil {
			return nil, s.failed("list", layout.Versions(name)+"/", entry.Err)
		}
		if version, ok := layout.ParseRecordFile(strings.TrimPrefix(entry.Key, prefix)); ok {
			times = append(times, store.VersionTime{Version: version, Time: stored(entry.LastModified)})
		}
		if limit > 0 && len(times) == limit {
			break
		}
	}
	if err := context.Cause(ctx); err != nil { // the listing then ends without an error
		return nil, s.failed("list", layout.Versions(name)+"/", err)
	}
	return times, nil
}

// PutNote implements [store.Store].
func (s *Store) PutNote(ctx context.Context, name string, content []byte) error {
	if err := records.CheckNote(name, content); err != nil {
		return err
	}
	return s.overwrite(ctx, layout.Note(name), content)
}

// Notes implements [store.Store]. It costs one list request for each page (1000).
func (s *Store) Notes(ctx context.Context, prefix string) ([]store.NoteInfo, error) {
	folder := s.key(layout.NotesFolder + "/")
	var notes []store.NoteInfo
	opts := minio.ListObjectsOptions{Prefix: folder + prefix, Recursive: true, MaxKeys: s.pageKeys}
	for entry := range s.core.ListObjectsIter(ctx, s.settings.bucket, opts) { // sorted
		if entry.Err != nil {
			return nil, s.failed("list", layout.NotesFolder+"/", entry.Err)
		}
		if name, ok := layout.ParseNoteFile(strings.TrimPrefix(entry.Key, folder)); ok {
			notes = append(notes, store.NoteInfo{Name: name, Modified: stored(entry.LastModified)})
		}
	}
	if err := context.Cause(ctx); err != nil { // the listing then ends without an error
		return nil, s.failed("list", layout.NotesFolder+"/", err)
	}
	return notes, nil
}

// Note implements [store.Store].
func (s *Store) Note(ctx context.Context, name string) ([]byte, error) {
	if err := layout.CheckNote(name); err != nil {
		return nil, err
	}
	file := layout.Note(name)
	body, _, _, err := s.core.GetObject(ctx, s.settings.bucket, s.key(file), minio.GetObjectOptions{})
	if isCode(err, minio.NoSuchKey) {
		return nil, records.NoNote(name, s.full(file))
	}
	if err != nil {
		return nil, s.failed("read", file, err)
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, store.MaxNoteBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.full(file), err)
	}
	return b, nil
}

// DropNote implements [store.Store].
func (s *Store) DropNote(ctx context.Context, name string) error {
	if err := layout.CheckNote(name); err != nil {
		return err
	}
	return s.remove(ctx, layout.Note(name))
}
