// Package dir implements [store.Store] in a folder, for example on a disk or on a network file system. The file system needs hard
// links, and atomic links and renames.
//
// [Open] takes a path. A program that has the URL of a store opens it with [freshet.dev/pkg/store/storeurl].
//
// Package [store] describes the layout, the durability and the costs.
package dir
