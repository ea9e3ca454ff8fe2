package verify

import (
	"fmt"
	"slices"
	"strings"
)

// finding returns the finding of a fault. All versions have been judged.
func (w *walk) finding(f *fault) Finding {
	made := Finding{
		Kind: f.kind, Dataset: w.name, Version: f.version, Object: f.object, Place: f.place, Problem: f.problem, Lost: f.lost, Readable: f.readable,
	}
	if f.kind == KindStoreID && f.version == 0 {
		made.Dataset = ""
	}
	made.Effect, made.Remedy = w.consequences(f)
	return made
}

// consequences returns what a fault does to the dataset, and what to do about it.
func (w *walk) consequences(f *fault) (effect, remedy string) {
	newest := contains(f.lost, w.newest)
	switch f.kind {
	case KindSnapshot, KindDelta, KindUnread:
		return w.objectLost(f, newest)
	case KindState:
		effect = "instances that apply the delta abandon it, and load the snapshot"
		if len(f.lost) > 0 {
			effect = w.cannotLoad(f) + "; " + w.newestText(newest)
		}
		switch {
		case newest:
			return effect, w.publishAgain()
		case len(f.lost) == 0:
			return effect, "nothing: the deltas of other versions do not depend on it"
		}
		return effect, "nothing can make these versions again; later ones do not need them"
	case KindRecord:
		if newest {
			return "no instance that starts can load the dataset, and nothing can be published; " + w.serving(), "put back a good copy of " + f.place + " from a backup"
		}
		return fmt.Sprintf("version %d cannot be read; later versions do not need its record; %s", f.version, w.newestText(false)), "put back a good copy of " + f.place + " from a backup"
	case KindLink:
		return fmt.Sprintf("the record of version %d or of version %d is not the one that was committed; instances load the newest version nevertheless", f.version-1, f.version),
			fmt.Sprintf("put back a good copy of %s or of %s from a backup", w.store.RecordPlace(w.name, f.version-1), f.place)
	case KindSnapshotRecord:
		return "no version needs it; " + w.newestText(false), "run `freshet verify " + w.name + " --repair`, which writes it again, or remove " + f.place
	case KindStoreID:
		return w.storeID(f, newest)
	}
	return "", ""
}

// objectLost returns the consequences of a lost object.
func (w *walk) objectLost(f *fault, newest bool) (effect, remedy string) {
	effect = "no version needs it to load"
	if len(f.lost) > 0 {
		effect = w.cannotLoad(f)
	} else if f.kind == KindDelta {
		effect += fmt.Sprintf("; instances that serve version %d or earlier pull the snapshot", f.version-1)
	}
	effect += "; " + w.newestText(newest)
	if f.kind == KindUnread {
		return "if it is damaged, " + effect, "look for the cause at the disk or the server of the store, and verify again"
	}
	again := repair(w.name)
	if newest {
		return effect, again + "; otherwise " + w.publishAgain()
	}
	return effect, again + ", or put back a copy of " + f.place + " from a backup"
}

func repair(name string) string {
	return "run `freshet verify " + name + " --repair`, which makes it again from other objects if they suffice"
}

// AfterRepair returns the remedy of a finding about an object of the dataset for one that a repair did not put right: without the advice to
// run a repair.
func AfterRepair(name, remedy string) string {
	rest, advised := strings.CutPrefix(remedy, repair(name))
	if !advised {
		return remedy
	}
	return strings.TrimPrefix(strings.TrimPrefix(rest, "; otherwise "), ", or ")
}

func (w *walk) publishAgain() string {
	return "publish all records of " + w.name + " again: that makes a version that loads"
}

// cannotLoad says which versions cannot be loaded, and which of them can be read by another snapshot.
func (w *walk) cannotLoad(f *fault) string {
	text := Text(f.lost) + " cannot be loaded"
	if len(f.readable) == 0 {
		return text
	}
	from := fmt.Sprintf("the snapshot of version %d", f.sources.First)
	if f.sources.Last > f.sources.First {
		from = fmt.Sprintf("the snapshots of versions %d to %d", f.sources.First, f.sources.Last)
	}
	if slices.Equal(f.readable, f.lost) {
		return text + ", which the publisher can read from " + from
	}
	return text + "; the publisher can read " + Text(f.readable) + " from " + from
}

// newestText says whether instances can load the newest version, and which refresh to it by deltas.
func (w *walk) newestText(lost bool) string {
	if !lost {
		if len(w.newestLost()) > 0 {
			return fmt.Sprintf("another finding concerns the newest version, %d", w.newest)
		}
		return fmt.Sprintf("the newest version, %d, loads", w.newest)
	}
	return fmt.Sprintf("no instance that starts can load the newest version, %d; %s", w.newest, w.serving())
}

// newestLost returns the faults because of which the newest version cannot be loaded.
func (w *walk) newestLost() (all []*fault) {
	for _, f := range w.faults {
		if f.kind != KindStoreID && contains(f.lost, w.newest) {
			all = append(all, f)
		}
	}
	return all
}

// serving says which instances reach the newest version without loading a snapshot.
func (w *walk) serving() string {
	from := w.newest
	if last := w.last; last != nil && last.read && last.first > 0 {
		for from >= last.first {
			if d := w.recent[from]; d == nil || d.fault != nil || d.delta.Version == 0 {
				break
			}
			from--
		}
	}
	if from < w.newest {
		return fmt.Sprintf("instances that serve version %d or later refresh by deltas, and the others serve what they have", from)
	}
	return "instances serve what they have"
}

// storeID returns the consequences of a wrong store id.
func (w *walk) storeID(f *fault, newest bool) (effect, remedy string) {
	switch {
	case f.version > 0 && newest:
		return "the dataset is not published, and relays do not answer for it; " + w.serving(),
			fmt.Sprintf("if %s is wrong, put back a good copy of it, or remove it: then the publisher takes the id that most datasets name; "+
				"if the dataset was copied from another store, move %s away and publish all of its records again",
				w.store.IDPlace(), f.place[:strings.LastIndexAny(f.place, `/\`)])
	case f.version > 0:
		return "these records belong to another store; " + w.newestText(false), "put back good copies of the records from a backup"
	}
	return "nothing can be published, and no beacon is sent, until the store has its id", "put back a good copy of " + f.place +
		", or remove it and run `freshet verify --repair`: then the publisher takes the id that most datasets name"
}
