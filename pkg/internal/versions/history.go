// Package versions reads the committed versions of a store.
//
//   - [Records] reads version records, and knows which store they belong to.
//   - [Chains] finds the snapshot and the deltas that a version is read from.
//   - [Objects] puts and verifies objects, and tracks those that are lost or damaged.
//   - [Blocks] looks single records up, in cached blocks of objects.
//   - [Stream] reads all records of a version.
package versions

import (
	"log/slog"

	"freshet.dev/pkg/store"
)

// History has the readers of one store.
type History struct {
	Records *Records
	Chains  *Chains
	Objects *Objects
	Blocks  *Blocks

	store store.Store
}

// New returns the readers of st. Up to decoders blocks are decoded at a time.
func New(st store.Store, decoders int, log *slog.Logger) *History {
	objects := newObjects(st, log)
	return &History{
		Records: &Records{st},
		Chains:  &Chains{store: st, objects: objects, log: log},
		Objects: objects,
		Blocks:  newBlocks(st, decoders, objects),
		store:   st,
	}
}
