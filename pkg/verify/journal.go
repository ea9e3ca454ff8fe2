package verify

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// pageEntries is how many journal entries a Verifier reads at a time.
const pageEntries = 64

// Journals verifies the journals of all datasets but the named ones, whose journals Dataset verifies. So it finds what is wrong with the
// settings of datasets without a version. See Run for found and the errors.
func (v *Verifier) Journals(ctx context.Context, named []string, found func(Finding) error) (t Totals, err error) {
	all, err := v.store.Journals(ctx)
	if err != nil {
		return t, fmt.Errorf("verify: list the journals: %w", err)
	}
	done := make(map[string]bool, len(named))
	for _, name := range named {
		done[name] = true
	}
	for _, name := range all {
		if done[name] {
			continue
		}
		findings, err := v.journal(ctx, name)
		if err != nil {
			return t, err
		}
		for _, f := range findings {
			t.Findings++
			if err := found(f); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

// journal reads the journal of a dataset and returns a finding for each damaged entry.
func (v *Verifier) journal(ctx context.Context, name string) (findings []Finding, err error) {
	newest, err := v.store.NewestEntry(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("verify dataset %q: look for the newest journal entry: %w", name, err)
	}
	var damaged []*store.EntryError
	var readable entryNumbers
	for from := uint64(1); from <= newest; from += pageEntries {
		last, bad, err := v.entries(ctx, name, from, min(pageEntries, newest-from+1))
		if err != nil {
			return nil, err
		}
		readable = readable.max(last)
		for _, d := range bad { // an operator may have put it back
			last, bad, err := v.entries(ctx, name, d.Number, 1)
			if err != nil {
				return nil, err
			}
			readable = readable.max(last)
			damaged = append(damaged, bad...)
		}
	}
	for _, d := range damaged {
		findings = append(findings, entryFinding(d, readable))
	}
	return findings, nil
}

// entryNumbers are the numbers of the newest entries with settings and with pins that can be read; 0 if there is none.
type entryNumbers struct{ settings, pins uint64 }

func (n entryNumbers) max(o entryNumbers) entryNumbers {
	return entryNumbers{max(n.settings, o.settings), max(n.pins, o.pins)}
}

// entries reads n entries from the number from on. It returns the numbers of the last ones with settings and with pins, and the damaged
// ones.
func (v *Verifier) entries(ctx context.Context, name string, from, n uint64) (last entryNumbers, damaged store.EntryErrors, err error) {
	page, err := v.store.Entries(ctx, name, from, int(n))
	damaged, ok := errors.AsType[store.EntryErrors](err)
	switch {
	case err != nil && !ok:
		return last, nil, fmt.Errorf("verify dataset %q: read the journal entries %d to %d: %w", name, from, from+n-1, err)
	case uint64(len(page)+len(damaged)) < n:
		return last, nil, fmt.Errorf("verify dataset %q: %w", name, errReplaced)
	}
	for _, e := range page {
		var err error
		switch e.Kind {
		case dataset.EntrySettings:
			_, err = e.SettingsChange()
		case dataset.EntryPin, dataset.EntryUnpin:
			_, err = e.PinChange()
		default:
			continue
		}
		if err != nil {
			damaged = append(damaged, &store.EntryError{Dataset: name, Number: e.Number, Place: v.store.EntryPlace(name, e.Number), Err: err})
			continue
		}
		if e.Kind == dataset.EntrySettings {
			last.settings = e.Number
		} else {
			last.pins = e.Number
		}
	}
	return last, damaged, nil
}

// entryFinding returns the finding of a damaged entry. readable are the newest entries that can be read.
func entryFinding(d *store.EntryError, readable entryNumbers) Finding {
	f := Finding{
		Kind: KindEntry, Dataset: d.Dataset, Entry: d.Number, Place: d.Place,
		Problem: fmt.Sprintf("journal entry %d is lost: %v", d.Number, d.Err),
		Effect:  fmt.Sprintf("`freshet events` omits it; the settings do not need it, entry %d has them", readable.settings),
		Remedy:  "put back a good copy of " + d.Place + " from a backup",
	}
	if d.Number > readable.settings {
		f.Effect = "it may be the one that has the settings: until they can be read, no version with other content is published, and no setting is changed; " +
			"instances load the versions as before"
		f.Remedy += fmt.Sprintf(", or set all settings again: `freshet settings %s --replace --set NAME=VALUE --reason TEXT`", d.Dataset)
	}
	if d.Number > readable.pins {
		f.Effect += "; it may be the one that has the pins: until they can be read, relays answer no instance about pins, and instances hold those that they know"
		f.Remedy += fmt.Sprintf("; for the pins, remove all and set them again: `freshet unpin %s --all --reason TEXT`", d.Dataset)
	}
	return f
}
