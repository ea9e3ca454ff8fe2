// Package storeurl opens the store that a URL names. Package store still has the implementations.
package storeurl

import (
	"context"

	"freshet.dev/pkg/store"
)

// Open opens the store at rawURL. See [store.Open].
func Open(ctx context.Context, rawURL string) (store.Store, error) { return store.Open(ctx, rawURL) }

// OpenExisting is Open for a process that only reads. See [store.OpenExisting].
func OpenExisting(ctx context.Context, rawURL string) (store.Store, error) {
	return store.OpenExisting(ctx, rawURL)
}
