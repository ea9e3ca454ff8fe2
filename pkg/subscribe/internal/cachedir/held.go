package cachedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"freshet.dev/pkg/dataset"
)

// Held is a cached version, as version.json describes it.
type Held struct {
	Record dataset.VersionRecord
	// Chain has the objects that make the version: a snapshot and the deltas on it. It may differ from the chain of the record, because the
	// folder builds on the snapshot that it has. Their versions ascend. They have a gap after a version that a rollback restored without a
	// pull: the next object, or Record, is then of the rollback or of the version after it.
	Chain []dataset.Object
}

// cachedMember is the additional member of version.json, which a version record does not have. In a folder of the first release it is
// missing.
const cachedMember = "cached"

// SnapshotBytes returns the size of the cached snapshot.
func (h Held) SnapshotBytes() int64 { return h.Chain[0].Bytes }

// DeltaBytes returns the size of the cached deltas.
func (h Held) DeltaBytes() (sum int64) {
	for _, o := range h.Chain[1:] {
		sum += o.Bytes
	}
	return sum
}

// check returns an error if h is not a valid version.
func (h Held) check() error {
	if err := h.Record.Check(); err != nil {
		return err
	}
	n := uint64(len(h.Chain))
	if n == 0 || n > h.Record.Version {
		return fmt.Errorf("%d cached objects", n)
	}
	before := uint64(0)
	for i, o := range h.Chain {
		if o.Version <= before || o.Version > h.Record.Version || o.Digest.IsZero() || o.Bytes <= 0 {
			return fmt.Errorf("cached object %d of %d is of version %d, digest %s and %d bytes, after version %d", i+1, n,
				o.Version, o.Digest, o.Bytes, before)
		}
		before = o.Version
	}
	return nil
}

// files returns the names of the files of the version.
func (h Held) files() []string {
	names := []string{recordName}
	for _, o := range h.Chain {
		names = append(names, o.Digest.String()+objectSuffix)
	}
	return names
}

func (h Held) encode() ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	record, err := json.Marshal(h.Record)
	if err != nil {
		return nil, err
	}
	chain, err := json.Marshal(h.Chain)
	if err != nil {
		return nil, err
	}
	return slices.Concat(record[:len(record)-1], []byte(`,"`+cachedMember+`":`), chain, []byte("}")), nil
}

// RecordPath returns the path of the dataset's version.json.
func (d *Dir) RecordPath(name string) string { return filepath.Join(d.dir(name), recordName) }

// Held returns the cached version of the dataset, without checking its objects. It fails with [ErrNone] or [ErrDamaged].
func (d *Dir) Held(name string) (Held, error) {
	return Do(d, func() (Held, error) { return d.held(name) }, nil)
}

func (d *Dir) held(name string) (Held, error) {
	if err := d.Damage(name); err != nil {
		return Held{}, err
	}
	return d.read(name)
}

// read returns the version in version.json.
func (d *Dir) read(name string) (Held, error) {
	path := d.RecordPath(name)
	text, err := d.readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Held{}, ErrNone
	}
	if err != nil {
		return Held{}, fmt.Errorf("read the cached version record: %w", err)
	}
	held, err := parseHeld(name, text)
	if err != nil {
		return Held{}, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return held, nil
}

// parseHeld parses text, the content of version.json of the dataset.
func parseHeld(name string, text []byte) (held Held, err error) {
	var members struct {
		Cached []dataset.Object `json:"cached"`
	}
	if err = json.Unmarshal(text, &members); err == nil {
		held, err = decodeHeld(text)
	}
	held.Chain = members.Cached
	if len(held.Chain) == 0 {
		held.Chain = held.Record.Chain()
	}
	if err == nil {
		err = held.check()
	}
	if err == nil && held.Record.Dataset != name {
		err = fmt.Errorf("it is about %q", held.Record.Dataset)
	}
	return held, err
}

// decodeHeld returns the record in version.json.
func decodeHeld(text []byte) (Held, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return Held{}, err
	}
	delete(members, cachedMember)
	record, err := json.Marshal(members)
	if err != nil {
		return Held{}, err
	}
	rec, err := dataset.DecodeVersionRecord(record)
	return Held{Record: rec}, err
}
