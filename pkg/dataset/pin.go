package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kinds of the entries that change the pins of a dataset. Their content is a [PinChange].
const (
	EntryPin   = "pin"
	EntryUnpin = "unpin"
)

// Bounds of pins.
const (
	// MaxPins bounds the pins of a dataset.
	MaxPins = 32
	// MaxPinsBytes bounds the JSON of [Pins], which has a version record for each pinned version.
	MaxPinsBytes = 16 << 20
)

// ErrPins is wrapped by the errors of DecodePins.
var ErrPins = errors.New("not the pins of a dataset")

// Pin makes the chosen instances hold a version, whatever is announced.
type Pin struct {
	// Version and ID name the version. After a restore of the store, another version may have the number: the pin does not hold it.
	Version uint64    `json:"version"`
	ID      VersionID `json:"id"`
	// Instances and Labels choose the instances: those with one of the names, or those that have all of the labels. At most one of them
	// is set; all instances are chosen if neither is.
	Instances []string          `json:"instances,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// Entry is the number of the journal entry that set the pin. Of several pins that choose an instance, the one with the highest
	// number holds.
	Entry uint64 `json:"entry"`
	// At, By and Reason are those of that entry.
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Ref returns the number and the id of the pinned version.
func (p Pin) Ref() Ref { return Ref{Version: p.Version, ID: p.ID} }

// Selects reports whether the pin chooses the instance with the name and the labels.
func (p Pin) Selects(instance string, labels map[string]string) bool {
	if len(p.Instances) > 0 {
		return slices.Contains(p.Instances, instance)
	}
	for name, value := range p.Labels {
		if has, ok := labels[name]; !ok || has != value {
			return false
		}
	}
	return true
}

// SameInstances reports whether p and q choose instances by the same names or the same labels.
func (p Pin) SameInstances(q Pin) bool {
	sorted := func(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
	return slices.Equal(sorted(p.Instances), sorted(q.Instances)) && maps.Equal(p.Labels, q.Labels)
}

// Chosen describes the chosen instances: "all instances", "instances api-1, api-2", "instances with tier=canary".
func (p Pin) Chosen() string {
	switch {
	case len(p.Instances) == 1:
		return "instance " + p.Instances[0]
	case len(p.Instances) > 1:
		return "instances " + strings.Join(p.Instances, ", ")
	case len(p.Labels) == 0:
		return "all instances"
	}
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(p.Labels)) {
		labels = append(labels, name+"="+p.Labels[name])
	}
	return "instances with " + strings.Join(labels, ",")
}

// PinChange is the content of an entry of the kind [EntryPin] or [EntryUnpin].
type PinChange struct {
	// Pins are all pins after the change, in the order of their entries, so that the newest entry suffices.
	Pins []Pin `json:"pins"`
	// Set is the pin that was set; nil in an entry of the kind EntryUnpin.
	Set *Pin `json:"set,omitempty"`
	// Removed are the pins that were removed, and those that Set replaced.
	Removed []Pin `json:"removed,omitempty"`
}

// PinChange returns the content of an entry of the kind [EntryPin] or [EntryUnpin].
func (e Entry) PinChange() (PinChange, error) {
	if e.Kind != EntryPin && e.Kind != EntryUnpin {
		return PinChange{}, fmt.Errorf("%w: %s is of the kind %s, not %s or %s", ErrEntry, e.ID(), e.Kind, EntryPin, EntryUnpin)
	}
	var c PinChange
	if err := json.Unmarshal(e.Content, &c); err != nil {
		return PinChange{}, fmt.Errorf("%w: %s: its content is not a change of pins: %w", ErrEntry, e.ID(), err)
	}
	return c, nil
}

// Pins are the pins of a dataset, as a store has them.
type Pins struct {
	StoreID StoreID `json:"store_id,omitzero"`
	Dataset string  `json:"dataset"`
	// Journal is the number of the newest entry of the dataset's journal, of any kind; 0 if there is none.
	Journal uint64 `json:"journal"`
	// Entry and Sum are the number and the checksum of the entry that set or removed pins last; zero if pins were never set.
	Entry uint64 `json:"entry"`
	Sum   string `json:"sum,omitempty"`
	// Pins are in the order of their entries.
	Pins []Pin `json:"pins"`
	// Versions are the records of the pinned versions, as the store has them: after a restore, one may have another id than the pin, or
	// be missing.
	Versions []VersionRecord `json:"versions,omitempty"`
}

// PinsOf returns the pins after the entry e, which is of the kind [EntryPin] or [EntryUnpin], without Versions.
func PinsOf(e Entry) (Pins, error) {
	c, err := e.PinChange()
	if err != nil {
		return Pins{}, err
	}
	return Pins{StoreID: e.StoreID, Dataset: e.Dataset, Journal: e.Number, Entry: e.Number, Sum: e.Sum(), Pins: c.Pins}, nil
}

// For returns the pin that holds for the instance with the name and the labels; ok is false if none does.
func (p Pins) For(instance string, labels map[string]string) (pin Pin, ok bool) {
	for _, one := range p.Pins {
		if one.Selects(instance, labels) && (!ok || one.Entry > pin.Entry) {
			pin, ok = one, true
		}
	}
	return pin, ok
}

// Record returns the record of the version with the number; ok is false if p does not have it.
func (p Pins) Record(version uint64) (rec VersionRecord, ok bool) {
	for _, one := range p.Versions {
		if one.Version == version {
			return one, true
		}
	}
	return VersionRecord{}, false
}

// SameEntry reports whether p and q are the pins after the same entry of the same store.
func (p Pins) SameEntry(q Pins) bool {
	return p.StoreID == q.StoreID && p.Entry == q.Entry && p.Sum == q.Sum
}

// DecodePins decodes and checks the pins of the dataset called name. It ignores unknown members.
func DecodePins(b []byte, name string) (Pins, error) {
	var p Pins
	if err := json.Unmarshal(b, &p); err != nil {
		return Pins{}, fmt.Errorf("%w: %w", ErrPins, err)
	}
	if p.Dataset != name {
		return Pins{}, fmt.Errorf("%w: they are of dataset %.80q, not %s", ErrPins, p.Dataset, name)
	}
	for _, pin := range p.Pins {
		if pin.Version == 0 || pin.ID.IsZero() || pin.Entry == 0 {
			return Pins{}, fmt.Errorf("%w: a pin of %s lacks its version, id or entry", ErrPins, name)
		}
	}
	var raw struct {
		Versions []json.RawMessage `json:"versions"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return Pins{}, fmt.Errorf("%w: %w", ErrPins, err)
	}
	for i, text := range raw.Versions { // the decoder verifies the ids
		rec, err := DecodeVersionRecord(text)
		if err == nil && rec.Dataset != name {
			err = fmt.Errorf("a version is of dataset %.80q", rec.Dataset)
		}
		if err != nil {
			return Pins{}, fmt.Errorf("%w: of %s: %w", ErrPins, name, err)
		}
		p.Versions[i] = rec
	}
	return p, nil
}
