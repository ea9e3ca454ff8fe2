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

// previousName is the file that names the versions to fall back to.
const previousName = "previous.json"

// Retain makes each commit keep the version before, until the new one is confirmed. It is called before the first use.
func (d *Dir) Retain() { d.retains = true }

// previousFile is the content of previous.json.
type previousFile struct {
	Versions []json.RawMessage `json:"versions"`
}

// Previous returns the versions of the dataset to fall back to, the version before the cached one first. It leaves out those whose
// objects are not all there.
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
		if held, err := parseHeld(name, text); err == nil && d.whole(name, held) {
			versions = append(versions, held)
		}
	}
	return versions
}

// whole reports whether the objects of held are there.
func (d *Dir) whole(name string, held Held) bool {
	return !slices.ContainsFunc(held.Chain, func(o dataset.Object) bool {
		info, err := d.stat(d.object(name, o.Digest))
		return err != nil || info.Size() != o.Bytes
	})
}

// kept returns the names of the files that stay while held is the cached version, and before are kept.
func kept(held Held, before []Held) []string {
	keep := append(held.files(), bootName)
	if len(before) > 0 {
		keep = append(keep, previousName)
	}
	for _, v := range before {
		keep = append(keep, v.files()...)
	}
	return keep
}

// retain writes what there is to fall back to once next is the cached version, and returns it. The caller holds the lock of the files.
func (d *Dir) retain(name string, next Held) ([]Held, error) {
	before := d.previous(name)
	if !d.retains {
		return before, nil
	}
	now, err := d.held(name)
	boot := d.boot(name)
	switch {
	case errors.Is(err, ErrNone), errors.Is(err, ErrDamaged):
		if boot.IsConfirmed(next.id()) { // Settle, which came before this commit, found no version to settle
			return nil, d.setPrevious(name, nil)
		}
		return before, nil
	case err != nil:
		return nil, err
	}
	if now.Record.Ref() == next.Record.Ref() && !boot.IsConfirmed(next.id()) {
		return before, nil
	}
	before = fallBack(boot, before, now, next)
	return before, d.setPrevious(name, before)
}

// fallBack returns what to keep when next takes the place of now, and before is what was kept until then.
func fallBack(boot Boot, before []Held, now, next Held) []Held {
	var keep []Held
	switch {
	case boot.IsConfirmed(next.id()):
		return nil
	case sameObjects(now, next): // the same content under another id
		keep = before
	case boot.IsConfirmed(now.id()) || len(before) == 0:
		keep = []Held{now}
	default:
		older := before[len(before)-1]
		if i := slices.IndexFunc(before, func(h Held) bool { return boot.IsConfirmed(h.id()) }); i >= 0 {
			older = before[i]
		}
		keep = []Held{now, older}
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
		err = d.replace(temp, previousName, text, false) // the folder is synced with version.json; a file that is cut short says nothing
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// forget removes what there is to fall back to if held, the cached version, is confirmed: a process that died right after the
// confirmation has left it.
func (d *Dir) forget(name string, held Held) {
	if boot := d.boot(name); boot.IsConfirmed(held.id()) {
		_ = d.setPrevious(name, nil) // what stays there costs room alone
	}
}

// Settle drops the versions that are kept before rec, which boot.json says is confirmed.
func (d *Dir) Settle(name string, rec dataset.VersionRecord) error {
	return d.do(func() error { return d.settle(name, rec) })
}

func (d *Dir) settle(name string, rec dataset.VersionRecord) error {
	if err := d.own(); err != nil {
		return err
	}
	files := d.of(name)
	files.Lock()
	defer files.Unlock()
	now, err := d.held(name)
	if errors.Is(err, ErrNone) || errors.Is(err, ErrDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	before := d.previous(name)
	keep := before
	if now.Record.Ref() == rec.Ref() {
		keep = nil
	} else if i := slices.IndexFunc(before, func(h Held) bool { return h.id() == rec.VersionID() }); i >= 0 {
		keep = before[:i+1]
	} else if h, ok := now.upTo(rec); ok {
		keep = append(slices.Clone(before[:min(1, len(before))]), h)
	}
	if len(keep) == 0 && len(before) == 0 {
		return nil
	}
	if err := d.setPrevious(name, keep); err != nil {
		return err
	}
	return d.sweep(name, kept(now, keep))
}

// upTo returns the earlier version rec, if the objects of h lead up to it.
func (h Held) upTo(rec dataset.VersionRecord) (Held, bool) {
	for i, o := range h.Chain[:len(h.Chain)-1] {
		next := h.Chain[i+1]
		if o.Version == rec.Version && (next.From.IsZero() || next.From == rec.VersionID()) {
			return Held{rec, h.Chain[:i+1]}, true
		}
	}
	return Held{}, false
}

// Restore makes the version before the cached one, if barred says so of that: the first one that is not barred itself. Without any,
// nothing is cached any more.
func (d *Dir) Restore(name string, barred func(dataset.Ref) bool) error {
	return d.do(func() error { return d.restore(name, barred) })
}

func (d *Dir) restore(name string, barred func(dataset.Ref) bool) error {
	if now, err := d.held(name); err != nil || !barred(now.Record.Ref()) {
		return nil
	}
	if err := d.own(); err != nil {
		return err
	}
	files := d.of(name)
	files.Lock()
	defer files.Unlock()
	now, err := d.held(name)
	if err != nil || !barred(now.Record.Ref()) {
		return nil // Stored will say what is wrong with it, if something is
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
		return d.sweep(name, kept(older, before))
	}
	return d.sweep(name, []string{bootName})
}
