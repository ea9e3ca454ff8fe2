package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/objects"
	"freshet.dev/pkg/store/internal/roundrobin"
	"freshet.dev/pkg/store/internal/verify"
)

// Store is a store in a folder. It accesses its files through an [os.Root], so no symbolic link leads out of the folder.
type Store struct {
	path string // absolute
	root *os.Root

	mu sync.Mutex // guards the fields below, except datasets
	// newest has, by folder, the number of a record that existed at the last call. The search for the newest record starts there.
	newest map[string]uint64
	// durable has the folders that are known to be on disk, with all folders above them.
	durable map[string]bool
	swept   time.Time

	datasets roundrobin.Reader // of Newest
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the folder at path, and creates the folder if it does not exist. A relative path is relative to the current
// folder of the process at the time of the call.
func Open(path string) (*Store, error) {
	folder, err := absolute(path)
	if err != nil {
		return nil, err
	}
	if err := createFolder(folder); err != nil {
		return nil, fmt.Errorf("make the store's folder %s: %w%s", folder, cause(err), hint(err))
	}
	return open(folder)
}

// OpenExisting is Open for a process that only reads: it does not create the folder, and fails with [store.ErrMissing] if the folder
// does not exist.
func OpenExisting(path string) (*Store, error) {
	folder, err := absolute(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s; mount it, or start the publisher first, which makes it", store.ErrMissing, folder)
	}
	return open(folder)
}

func absolute(path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("%w: the path of the store's folder is empty", store.ErrURL)
	}
	folder, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the store's folder %s: %w", path, err)
	}
	return folder, nil
}

func open(folder string) (*Store, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open the store's folder %s: %w%s", folder, cause(err), hint(err))
	}
	return &Store{path: folder, root: root, newest: map[string]uint64{}, durable: map[string]bool{}}, nil
}

// String returns the URL of the store, with an absolute path.
func (s *Store) String() string {
	u := url.URL{Scheme: "dir", Path: filepath.ToSlash(s.path)}
	return u.String()
}

// Close implements [store.Store].
func (s *Store) Close() error { return s.root.Close() }

// PutObject implements [store.Store].
func (s *Store) PutObject(ctx context.Context, digest dataset.Digest, bytes int64, r io.Reader) error {
	content, err := verify.NewReader(ctx, digest, bytes, r)
	if err != nil {
		return err
	}
	switch size, err := s.StatObject(ctx, digest); {
	case err == nil && size == bytes:
		// The process that wrote it may not have synced the folder yet.
		return s.syncFolder(path.Dir(layout.Object(digest)))
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	// An object of another size is damaged.
	return s.replaceObject(content)
}

// replaceObject atomically writes the object, whether it exists or not.
func (s *Store) replaceObject(content *verify.Reader) error {
	tmp, err := s.writeTmp("object", func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
	if err != nil {
		return fmt.Errorf("put object %s: %w", content.Digest(), err)
	}
	if err := s.publish(tmp, layout.Object(content.Digest()), s.root.Rename); err != nil {
		return fmt.Errorf("put object %s: %w", content.Digest(), err)
	}
	return nil
}

// RepairObject implements [store.Store].
func (s *Store) RepairObject(ctx context.Context, digest dataset.Digest, bytes int64, r io.Reader) (bool, error) {
	return objects.Repair(ctx, s, digest, bytes, r, s.replaceObject)
}

// ObjectPlace returns the path of the object's file.
func (s *Store) ObjectPlace(digest dataset.Digest) string { return s.full(layout.Object(digest)) }

// StatObject implements [store.Store].
func (s *Store) StatObject(_ context.Context, digest dataset.Digest) (int64, error) {
	name := layout.Object(digest)
	info, err := s.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("object %s: %w at %s", digest, store.ErrNotFound, s.full(name))
	case err != nil:
		return 0, s.failed("look for object", name, err)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%w: object %s: %s is not a regular file (%v)", store.ErrDamaged, digest, s.full(name), info.Mode())
	}
	return info.Size(), nil
}

// OpenObject implements [store.Store]. The reader also implements [io.WriterTo] and [io.ReaderAt].
func (s *Store) OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	size, err := s.StatObject(ctx, digest)
	if err != nil {
		return nil, err
	}
	length, err = objects.CheckRange(digest, size, offset, length)
	if err != nil {
		return nil, err
	}
	f, err := s.root.Open(layout.Object(digest))
	if err != nil {
		return nil, s.failed("open object", layout.Object(digest), err)
	}
	part, err := newSection(f, offset, length)
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, s.failed("open object", layout.Object(digest), err)
	}
	return part, nil
}

// full returns the path of name for a message.
func (s *Store) full(name string) string { return filepath.Join(s.path, filepath.FromSlash(name)) }

// failed wraps an error of a call on s.root, whose own text has the path below the root only.
func (s *Store) failed(doing, name string, err error) error {
	return fmt.Errorf("%s %s: %w%s", doing, s.full(name), cause(err), hint(err))
}

// cause returns the error in an error of package os, without the operation and the path.
func cause(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	if e := (*os.LinkError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// hint returns the remedy for an error of package os; empty if it is obvious.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "; free some space there"
	case errors.Is(err, syscall.EROFS):
		return "; mount it writable to publish"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("; give the user with id %d permission there", os.Geteuid())
	case errors.Is(err, syscall.ENOTDIR):
		return "; part of that path is a file"
	}
	return ""
}
