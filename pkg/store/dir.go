package store

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
	"freshet.dev/pkg/redact"
)

// dir is the store in a folder. Everything goes through an [os.Root], so that no symbolic link leads out of it.
type dir struct {
	path string // absolute
	root *os.Root

	mu sync.Mutex
	// newest holds, by dataset, a version known to have existed: where the search for the newest begins.
	newest map[string]uint64
	// durable holds the folders that are known to be on disk with all above them.
	durable map[string]bool
	swept   time.Time

	rounds rounds // of Newest
}

func openDir(u *url.URL, create bool) (Store, error) {
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("%w: %q is more than a path; want dir:///abs/path or dir://rel/path, with %%3F for ? and %%23 for #",
			ErrURL, redact.URL(u))
	}
	if u.Host+u.Path == "" {
		return nil, fmt.Errorf("%w: dir:// names no folder; want dir:///abs/path or dir://rel/path", ErrURL)
	}
	folder, err := filepath.Abs(filepath.FromSlash(u.Host + u.Path))
	if err != nil {
		return nil, fmt.Errorf("find the folder of %q: %w", redact.URL(u), err)
	}
	if !create {
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s; mount it, or start the publisher first, which makes it", ErrMissing, folder)
		}
	} else if err := makeFolder(folder); err != nil {
		return nil, fmt.Errorf("make the store's folder %s: %w%s", folder, bare(err), hint(err))
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open the store's folder %s: %w%s", folder, bare(err), hint(err))
	}
	return &dir{path: folder, root: root, newest: map[string]uint64{}, durable: map[string]bool{}}, nil
}

func (d *dir) String() string {
	u := url.URL{Scheme: "dir", Path: filepath.ToSlash(d.path)}
	return u.String()
}

func (d *dir) Close() error { return d.root.Close() }

func (d *dir) PutObject(ctx context.Context, digest dataset.Digest, bytes int64, r io.Reader) error {
	content, err := verify(ctx, digest, bytes, r)
	if err != nil {
		return err
	}
	name := objectName(digest)
	switch size, err := d.StatObject(ctx, digest); {
	case err == nil && size == bytes:
		// Whoever wrote it may not have synced the folder yet.
		return d.syncFolder(path.Dir(name))
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	// An object of another size is damaged.
	return d.replace(digest, content)
}

// replace makes content the object, in one step, whatever there was before.
func (d *dir) replace(digest dataset.Digest, content *verifier) error {
	name := objectName(digest)
	tmp, err := d.writeTmp("object", func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
	if err != nil {
		return fmt.Errorf("put object %s: %w", digest, err)
	}
	if err := d.publish(tmp, name, d.root.Rename); err != nil {
		return fmt.Errorf("put object %s: %w", digest, err)
	}
	return nil
}

func (d *dir) RepairObject(ctx context.Context, digest dataset.Digest, bytes int64, r io.Reader) (bool, error) {
	return repair(ctx, d, digest, bytes, r, func(content *verifier) error { return d.replace(digest, content) })
}

func (d *dir) Place(digest dataset.Digest) string { return d.full(objectName(digest)) }

func (d *dir) StatObject(_ context.Context, digest dataset.Digest) (int64, error) {
	name := objectName(digest)
	info, err := d.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("object %s: %w at %s", digest, ErrNotFound, d.full(name))
	case err != nil:
		return 0, d.failed("look for object", name, err)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%w: object %s: %s is not a regular file (%v)", ErrDamaged, digest, d.full(name), info.Mode())
	}
	return info.Size(), nil
}

func (d *dir) OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	size, err := d.StatObject(ctx, digest)
	if err != nil {
		return nil, err
	}
	length, err = checkRange(digest, size, offset, length)
	if err != nil {
		return nil, err
	}
	f, err := d.root.Open(objectName(digest))
	if err != nil {
		return nil, d.failed("open object", objectName(digest), err)
	}
	s, err := newSection(f, offset, length)
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, d.failed("open object", objectName(digest), err)
	}
	return s, nil
}

// full returns the path of name for a message.
func (d *dir) full(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

// failed wraps an error of a call on d.root, whose own text has only the path below the root.
func (d *dir) failed(doing, name string, err error) error {
	return fmt.Errorf("%s %s: %w%s", doing, d.full(name), bare(err), hint(err))
}

// bare takes the operation and the path off an error of package os.
func bare(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	if e := (*os.LinkError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// hint says what to do about an error of package os, where that is not plain.
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
