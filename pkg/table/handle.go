package table

import "sync/atomic"

// Handle holds the table that a dataset's readers use now. Its zero value holds none. It may be used from any number
// of goroutines and must not be copied.
//
// A reader calls Load once for the lookups that belong together: they then all see one version.
type Handle struct {
	current atomic.Pointer[Table]
}

// Load returns the table, or nil if there was none yet.
func (h *Handle) Load() *Table { return h.current.Load() }

// Swap puts t in and returns the table that it replaces, nil if there was none. Readers that hold the old one keep
// it.
func (h *Handle) Swap(t *Table) *Table { return h.current.Swap(t) }
