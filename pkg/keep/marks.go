package keep

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

const (
	markPrefix = "mark-"
	// maxMarks is how many objects a note names. It stays far below store.MaxNoteBytes.
	maxMarks = 10_000
)

// mark is an object that no version needed when the note was written.
type mark struct {
	Digest   dataset.Digest `json:"digest"`
	Bytes    int64          `json:"bytes"`
	Modified time.Time      `json:"modified"`
}

// marks is the content of a note.
type marks struct {
	Objects []mark `json:"objects"`
}

func (c *Collector) putMarks(ctx context.Context, list []mark) error {
	text, err := json.Marshal(marks{list})
	if err != nil {
		return err
	}
	if err := c.deps.Store.PutNote(ctx, markPrefix+strings.ToLower(rand.Text()), text); err != nil {
		return fmt.Errorf("mark %d objects: %w", len(list), err)
	}
	return nil
}

// readMarks returns the marks in a note; none if another process has dropped it.
func (c *Collector) readMarks(ctx context.Context, note string) ([]mark, error) {
	text, err := c.deps.Store.Note(ctx, note)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	var m marks
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return nil, fmt.Errorf("read the marks in gc/%s.json; remove that file if it is damaged: %w", note, err)
	}
	return m.Objects, nil
}

// dropMarks removes all marks.
func (c *Collector) dropMarks(ctx context.Context) error {
	notes, err := c.deps.Store.Notes(ctx, markPrefix)
	if err != nil {
		return fmt.Errorf("list the marks: %w", err)
	}
	for _, n := range notes {
		if err := c.deps.Store.DropNote(ctx, n.Name); err != nil {
			return fmt.Errorf("drop marks: %w", err)
		}
	}
	return nil
}
