package records

import (
	"fmt"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
)

// CheckNote returns an error if there can be no note with that name and content.
func CheckNote(name string, content []byte) error {
	if len(content) > store.MaxNoteBytes {
		return fmt.Errorf("note %s has %d bytes, the most is %d", name, len(content), store.MaxNoteBytes)
	}
	return layout.CheckNote(name)
}

// NoNote returns the error for a note that does not exist.
func NoNote(name, place string) error {
	return fmt.Errorf("note %s: %w at %s", name, store.ErrNotFound, place)
}
