package store

import (
	"context"
	"iter"
	"time"

	"freshet.dev/pkg/dataset"
)

// MaxNoteBytes bounds a note.
const MaxNoteBytes = 4 << 20

// StoredObject is an object as a listing has it.
type StoredObject struct {
	Digest dataset.Digest
	Bytes  int64
	// Modified is when the object was written, by the store's clock.
	Modified time.Time
}

// VersionTime is the time of a version's record.
type VersionTime struct {
	Version uint64
	// Time is when the record was written, by the store's clock. Tools that copy a store may change it.
	Time time.Time
}

// NoteInfo is a note as a listing has it.
type NoteInfo struct {
	Name string
	// Modified is when the note was written, by the store's clock.
	Modified time.Time
}

// Collection is the part of a [Store] that the removal of objects needs: see [freshet.dev/pkg/keep]. Its notes are small files that
// publishers and garbage collections leave for each other. They are no part of any dataset, and a copy of a store does not need them.
type Collection interface {
	// Objects yields all objects in any order. It reads the list in pages, and ends with an error if a page cannot be read. An object that
	// is written or removed in the meantime may be missing or not.
	Objects(ctx context.Context) iter.Seq2[StoredObject, error]
	// RemoveObject removes the object if it is still the one that a listing had: with that size, and not written again since. It reports
	// false if it is another one. An object that is missing counts as removed. The check and the removal are not atomic.
	RemoveObject(ctx context.Context, o StoredObject) (removed bool, err error)
	// Clock returns the time by the store's clock: for a folder that of its file system, for a bucket that of its server, in whole seconds.
	// It costs a small write.
	Clock(ctx context.Context) (time.Time, error)
	// VersionTimes returns the times of at most limit version records from the version from on, oldest first; a limit of 0 or less returns
	// all. Records that are missing are left out.
	VersionTimes(ctx context.Context, name string, from uint64, limit int) ([]VersionTime, error)

	// PutNote writes a note, and replaces an existing one. A name has 1 to 100 of a-z, 0-9, and -. The most bytes are MaxNoteBytes.
	PutNote(ctx context.Context, name string, content []byte) error
	// Notes returns the notes whose names begin with prefix, sorted by name.
	Notes(ctx context.Context, prefix string) ([]NoteInfo, error)
	// Note returns the content of a note, or ErrNotFound.
	Note(ctx context.Context, name string) ([]byte, error)
	// DropNote removes the note if it exists.
	DropNote(ctx context.Context, name string) error
}
