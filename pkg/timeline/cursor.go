package timeline

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
)

// maxCursorBytes bounds the text within a cursor: that of some 50,000 datasets.
const maxCursorBytes = 4 << 20

// ErrCursor is returned by ParseCursor for a text that no read has returned.
var ErrCursor = errors.New("not a cursor: use that of the last line of a stream of events")

// Position is the number of the last version and of the last journal entry of a dataset that were read; 0 if there was none.
type Position struct{ Version, Entry uint64 }

// Positions has the position in each dataset. A dataset that it lacks did not exist at the time of the read.
type Positions map[string]Position

// Of returns the position in the dataset alone.
func (p Positions) Of(name string) Positions {
	only := Positions{}
	if at, ok := p[name]; ok {
		only[name] = at
	}
	return only
}

// Cursor returns the positions as text for [ParseCursor]: A-Z, a-z, 0-9, - and _.
func (p Positions) Cursor() string {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		panic(err) // only for another level
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(w, "%s %d %d\n", name, p[name].Version, p[name].Entry)
	}
	_ = w.Close() // a write to a buffer does not fail
	return base64.RawURLEncoding.EncodeToString(packed.Bytes())
}

// ParseCursor returns the positions of a cursor.
func ParseCursor(text string) (Positions, error) {
	packed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrCursor
	}
	lines, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxCursorBytes+1))
	if err != nil || len(lines) > maxCursorBytes {
		return nil, ErrCursor
	}
	p := Positions{}
	for line := range strings.Lines(string(lines)) {
		var name string
		var at Position
		if n, err := fmt.Sscanf(line, "%s %d %d\n", &name, &at.Version, &at.Entry); n != 3 || err != nil || dataset.CheckName(name) != nil {
			return nil, ErrCursor
		}
		p[name] = at
	}
	return p, nil
}
