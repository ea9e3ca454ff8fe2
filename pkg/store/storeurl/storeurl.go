// Package storeurl opens the store that a URL names. It is the entry point for programs that read the URL of their store from their
// configuration.
//
// storeurl links both implementations, and no other package of the libraries imports it. A program that needs only one implementation
// imports [freshet.dev/pkg/store/dir] or [freshet.dev/pkg/store/s3] and does not link the other. There is no registry that
// implementations add themselves to, as in database/sql. A blank import that is missing there is found when the program runs; a missing
// import of this package is found by the compiler.
//
// # URLs
//
//	dir:///abs/path    dir://rel/path
//	s3://bucket[/prefix][?endpoint=URL][&region=NAME][&path-style=true|false]
//
// dir:// names a folder. Characters that a URL cannot have in a path (space, %, ?, #) are percent-encoded, and a relative path with such
// characters starts with ./ (dir://./my%20data). Package [s3] describes the URLs of buckets.
package storeurl

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"

	"freshet.dev/pkg/redact"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
	"freshet.dev/pkg/store/s3"
)

// Open opens the store at rawURL. It creates the folder of a dir:// URL if it does not exist, and checks that the bucket of an s3:// URL
// exists. ctx is for that check only: its end does not affect the open store.
func Open(ctx context.Context, rawURL string) (store.Store, error) {
	return open(ctx, rawURL, dir.Open)
}

// OpenExisting is Open for a process that only reads: it does not create the folder, and fails with [store.ErrMissing] if the folder does
// not exist.
func OpenExisting(ctx context.Context, rawURL string) (store.Store, error) {
	return open(ctx, rawURL, dir.OpenExisting)
}

func open(ctx context.Context, rawURL string, openDir func(path string) (*dir.Store, error)) (store.Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error quotes parts of the URL, which may contain a password.
		return nil, fmt.Errorf("%w: it cannot be parsed; want dir:///path or s3://bucket/prefix, with %%25 for a %%", store.ErrURL)
	}
	switch u.Scheme {
	case "dir":
		path, err := dirPath(u)
		if err != nil {
			return nil, err
		}
		st, err := openDir(path)
		if err != nil {
			return nil, err // not st: an interface with a nil pointer is not nil
		}
		return st, nil
	case "s3":
		st, err := s3.Open(ctx, rawURL)
		if err != nil {
			return nil, err
		}
		return st, nil
	default:
		return nil, fmt.Errorf("%w: %q begins with neither dir:// nor s3://; for the folder ./data write dir://data",
			store.ErrURL, redact.URL(u))
	}
}

// dirPath returns the path of the folder that a dir:// URL names.
func dirPath(u *url.URL) (string, error) {
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", fmt.Errorf("%w: %q is more than a path; want dir:///abs/path or dir://rel/path, with %%3F for ? and %%23 for #",
			store.ErrURL, redact.URL(u))
	}
	if u.Host+u.Path == "" {
		return "", fmt.Errorf("%w: dir:// names no folder; want dir:///abs/path or dir://rel/path", store.ErrURL)
	}
	return filepath.FromSlash(u.Host + u.Path), nil
}
