package cachedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"freshet.dev/pkg/dataset"
)

// previousName is the file with the versions to fall back to.
const previousName = "previous.json"

// Retain makes each commit keep the previous version until the new one is confirmed. It must be called before the first use.
func (d *Dir) Retain() { d.retains = true }

// previousFile is the content of previous.json.
type previousFile struct {
	Versions []json.RawMessage `json:"versions"`
}

// Previous returns the versions of the dataset to fall back to, the newest first. It omits versions with missing objects.
func (d *Dir) Previous(name string) []Held {
	versions, _ := Do(d, func() ([]Held, error) { return d.previous(name), nil }, nil)
	return versions
}

func (d *Dir) previous(name string) []Held {
	text, err := d.readFile(filepath.Join(d.dir(name), previousName))
	var all previousFile
	if err != nil || json.Unmarshal(text, &all) != nil {
		return nil
	}
	var versions []Held
	for _, text := range all.Versions {
		if held, err := parseHeld(name, text); err == nil && d.complete(name, held) {
			versions = append(versions, held)
		}
	}
	return versions
}

// complete reports whether all objects of held are in the folder.
func (d *Dir) complete(name string, held Held) bool {
	return !slices.ContainsFunc(held.Chain, func(o dataset.Object) bool {
		info, err := d.stat(d.object(name, o.Digest))
		return err != nil || info.Size() != o.Bytes
	})
}

// keptFiles returns the names of the files to keep while held is the cached version and before are the versions to fall back to.
func keptFiles(held Held, before []Held) []string {
	keep := append(held.files(), bootName)
	if len(before) > 0 {
		keep = append(keep, previousName)
	}
	for _, v := range before {
		keep = append(keep, v.files()...)
	}
	return keep
}

// retain writes previous.json for the time when next is the cached version, and returns its versions. The caller holds the lock of the
// files.
func (d *Dir) retain(name string, next Held) ([]Held, error) {
	before := d.previous(name)
	if !d.retains {
		return before, nil
	}
	current, err := d.held(name)
	boot := d.boot(name)
	switch {
	case errors.Is(err, ErrNone), errors.Is(err, ErrDamaged):
		if boot.IsConfirmed(next.id()) { // Settle was called before this commit, and there was no version to settle
			return nil, d.setPrevious(name, nil)
		}
		return before, nil
	case err != nil:
		return nil, err
	}
	if current.Record.Ref() == next.Record.Ref() && !boot.IsConfirmed(next.id()) {
		return before, nil
	}
	before = fallbacks(boot, before, current, next)
	return before, d.setPrevious(name, before)
}

// fallbacks returns the versions to fall back to when next replaces current. before are the versions to fall back to until then.
func fallbacks(boot Boot, before []Held, current, next Held) []Held {
	var keep []Held
	switch {
	case boot.IsConfirmed(next.id()):
		return nil
	case sameObjects(current, next): // the same content with another id
		keep = before
	case boot.IsConfirmed(current.id()) || len(before) == 0:
		keep = []Held{current}
	default:
		older := before[len(before)-1]
		if i := slices.IndexFunc(before, func(h Held) bool { return boot.IsConfirmed(h.id()) }); i >= 0 {
			older = before[i]
		}
		keep = []Held{current, older}
	}
	return slices.DeleteFunc(slices.Clone(keep), func(h Held) bool { return h.id() == next.id() })
}

func sameObjects(a, b Held) bool {
	return slices.EqualFunc(a.Chain, b.Chain, func(x, y dataset.Object) bool { return x.Digest == y.Digest })
}

func (h Held) id() dataset.VersionID { return h.Record.VersionID() }

func (d *Dir) setPrevious(name string, versions []Held) error {
	path := filepath.Join(d.dir(name), previousName)
	if len(versions) == 0 {
		if err := d.remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	var all previousFile
	for _, v := range versions {
		text, err := v.encode()
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		all.Versions = append(all.Versions, text)
	}
	text, err := json.Marshal(all)
	if err == nil {
		temp := filepath.Join(d.dir(name), tempPrefix+"previous"+tempSuffix)
		err = d.replace(temp, previousName, text) // the folder is synced with version.json; a truncated file counts as empty
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// dropConfirmed removes the versions to fall back to if held, the cached version, is confirmed. A process that died right after the
// confirmation leaves them.
func (d *Dir) dropConfirmed(name string, held Held) {
	if boot := d.boot(name); boot.IsConfirmed(held.id()) {
		_ = d.setPrevious(name, nil) // versions that remain only occupy space
	}
}

// Settle drops the versions before rec, which is confirmed in boot.json.
func (d *Dir) Settle(name string, rec dataset.VersionRecord) error {
	return d.do(func() error { return d.settle(name, rec) })
}

func (d *Dir) settle(name string, rec dataset.VersionRecord) error {
	if err := d.own(); err != nil {
		return err
	}
	files := d.filesLock(name)
	files.Lock()
	defer files.Unlock()
	current, err := d.held(name)
	if errors.Is(err, ErrNone) || errors.Is(err, ErrDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	before := d.previous(name)
	keep := before
	if current.Record.Ref() == rec.Ref() {
		keep = nil
	} else if i := slices.IndexFunc(before, func(h Held) bool { return h.id() == rec.VersionID() }); i >= 0 {
		keep = before[:i+1]
	} else if chain, ok := current.upTo(rec.Ref()); ok {
		keep = append(slices.Clone(before[:min(1, len(before))]), Held{rec, chain})
	}
	if len(keep) == 0 && len(before) == 0 {
		return nil
	}
	if err := d.setPrevious(name, keep); err != nil {
		return err
	}
	return d.sweep(name, keptFiles(current, keep))
}

// upTo returns the chain that leads up to the version ref, which is h or one before it. ok is false if no objects of h make that version.
func (h Held) upTo(ref dataset.Ref) (chain []dataset.Object, ok bool) {
	if h.Record.Ref() == ref {
		return h.Chain, true
	}
	for i, o := range h.Chain[1:] {
		// An earlier release wrote a delta without the id of the version before it.
		if !ref.ID.IsZero() && o.From == ref.ID || o.From.IsZero() && o.Version == ref.Version+1 && h.Chain[i].Version == ref.Version {
			return h.Chain[:i+1], true
		}
	}
	return nil, false
}

// Restore falls back if barred returns true for the cached version: the newest version before it that is not barred becomes the cached
// version. Without such a version the dataset is removed.
func (d *Dir) Restore(name string, barred func(dataset.Ref) bool) error {
	return d.do(func() error { return d.restore(name, barred) })
}

func (d *Dir) restore(name string, barred func(dataset.Ref) bool) error {
	if current, err := d.held(name); err != nil || !barred(current.Record.Ref()) {
		return nil
	}
	if err := d.own(); err != nil {
		return err
	}
	files := d.filesLock(name)
	files.Lock()
	defer files.Unlock()
	current, err := d.held(name)
	if err != nil || !barred(current.Record.Ref()) {
		return nil // Stored returns the error, if there is one
	}
	before := d.previous(name)
	for i, older := range before {
		if barred(older.Record.Ref()) {
			continue
		}
		if err := d.setHeld(name, older); err != nil {
			return err
		}
		before = before[i+1:]
		if err := d.setPrevious(name, before); err != nil {
			return err
		}
		return d.sweep(name, keptFiles(older, before))
	}
	return d.sweep(name, []string{bootName})
}
