package pin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/gone"
	"freshet.dev/pkg/internal/hold"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/store"
)

var (
	// ErrInput is returned for a pin or a removal that is refused; nothing was changed. The error says what to do.
	ErrInput = errors.New("the pins are not changed")
	// ErrGone is returned when the objects of the version were removed, because the retention of its dataset does not keep it.
	ErrGone = gone.ErrGone
	// ErrNoVersion is returned when the dataset has no version.
	ErrNoVersion = errors.New("the dataset has no version")
	// ErrUnknownVersion is returned when the dataset does not have the version to pin.
	ErrUnknownVersion = errors.New("there is no such version")
	// ErrLost is returned when the store lacks an object that the version to pin is loaded from.
	ErrLost = errors.New("the version cannot be loaded")
	// ErrUnknownPin is returned by Unset when no pin chooses the instances in that way.
	ErrUnknownPin = errors.New("there is no such pin")
)

// Pins changes the pins of a store; [journal.Journal.Pins] reads them. It is safe for concurrent use.
type Pins struct {
	Journal *journal.Journal // of Store
	Store   store.Store
}

// Audit says who makes a change and why.
type Audit struct {
	// By is who, as the caller names itself, such as "user@host"; it may be empty. Reason is required.
	By, Reason string
	// RequestID is the id of the request, drawn by its caller; it may be empty. A repeated call with it changes nothing.
	RequestID string
	// DryRun says what the call would do, and changes nothing.
	DryRun bool
}

// Input is a pin to set.
type Input struct {
	Dataset string
	// Version is the version to hold. ID is its id as text, or the first digits of it; if it is empty, only the number is compared.
	Version uint64
	ID      string
	// Select chooses the instances.
	Select fleet.Selection
	Audit
}

// Result is the outcome of a change.
type Result struct {
	// Change is what was changed, or would be with DryRun. It has the pins after the change.
	Change dataset.PinChange
	// Entry is the number of the journal entry; 0 with DryRun, and if nothing changed.
	Entry uint64
	// Changed is false if the pins were so already, if an earlier call with the RequestID made the change, and with DryRun.
	Changed bool
	// Announced reports whether the entry was sent over NATS; see [journal.Appended].
	Announced bool
	// Warnings say what failed after the change was in the store.
	Warnings []string
}

// Set pins the chosen instances to a version. A pin of the same instances is replaced. It returns [ErrInput], [ErrNoVersion],
// [ErrUnknownVersion], [ErrGone], [ErrLost], or an error of [journal.Journal.Append].
func (p Pins) Set(ctx context.Context, in Input) (Result, error) {
	if err := in.check(); err != nil {
		return Result{}, err
	}
	rec, err := p.version(ctx, in)
	if err != nil {
		return Result{}, err
	}
	if !in.DryRun {
		held, err := p.hold(ctx, in, rec)
		if err != nil {
			return Result{}, err
		}
		defer held.Drop(ctx)
	}
	pin := dataset.Pin{
		Version: rec.Version, ID: rec.VersionID(), Instances: slices.Clone(in.Select.Instances), Labels: in.Select.Labels,
		At: time.Now().UTC(), By: in.By, Reason: in.Reason,
	}
	return p.change(ctx, in.Dataset, dataset.EntryPin, in.Audit, func(pins []dataset.Pin, newest uint64) (*dataset.PinChange, error) {
		set := pin
		set.Entry = newest + 1
		c := &dataset.PinChange{Set: &set}
		for _, one := range pins {
			switch {
			case !one.SameInstances(set):
				c.Pins = append(c.Pins, one)
			case one.Ref() == set.Ref() && pins[len(pins)-1].Entry == one.Entry:
				return nil, nil // it holds already, and no later pin takes its place
			default:
				c.Removed = append(c.Removed, one)
			}
		}
		if c.Pins = append(c.Pins, set); len(c.Pins) > dataset.MaxPins {
			return nil, fmt.Errorf("%w: dataset %s has %d pins, the most; remove some with freshet unpin %[2]s", ErrInput, in.Dataset, dataset.MaxPins)
		}
		return c, nil
	})
}

// Unset removes the pin that chooses instances as sel does; all pins, also if there is none, if sel chooses all instances. It returns
// [ErrInput], [ErrUnknownPin], or an error of [journal.Journal.Append]. The removal of all pins also heals a journal whose entry with the pins is
// damaged.
func (p Pins) Unset(ctx context.Context, name string, sel fleet.Selection, a Audit) (Result, error) {
	if err := check(name, sel, a); err != nil {
		return Result{}, err
	}
	like := dataset.Pin{Instances: sel.Instances, Labels: sel.Labels}
	kind := dataset.EntryUnpin
	remove := func(pins []dataset.Pin, _ uint64) (*dataset.PinChange, error) {
		c := &dataset.PinChange{Pins: []dataset.Pin{}}
		for _, one := range pins {
			if sel.All || one.SameInstances(like) {
				c.Removed = append(c.Removed, one)
			} else {
				c.Pins = append(c.Pins, one)
			}
		}
		switch {
		case len(c.Removed) == 0 && sel.All:
			return nil, nil
		case len(c.Removed) == 0:
			return nil, fmt.Errorf("%w of %s for %s; %s", ErrUnknownPin, name, sel, described(pins))
		}
		return c, nil
	}
	result, err := p.change(ctx, name, kind, a, remove)
	if sel.All && errors.Is(err, store.ErrDamaged) {
		return p.change(ctx, name, kind, a, nil)
	}
	return result, err
}

// described lists the pins, for a message.
func described(pins []dataset.Pin) string {
	if len(pins) == 0 {
		return "the dataset has no pins"
	}
	var all []string
	for _, one := range pins {
		all = append(all, fmt.Sprintf("%s to version %d", one.Chosen(), one.Version))
	}
	return "its pins are: " + strings.Join(all, "; ")
}

// change makes a change. next returns the change of the pins, or nil if there is nothing to change. A nil next removes all pins without
// reading them.
func (p Pins) change(
	ctx context.Context, name, kind string, a Audit, next func(pins []dataset.Pin, newest uint64) (*dataset.PinChange, error),
) (Result, error) {
	var made dataset.PinChange
	var refused error
	content := func(ctx context.Context, newest uint64) (any, error) {
		made = dataset.PinChange{Pins: []dataset.Pin{}}
		if next == nil {
			return made, nil
		}
		before, err := p.Journal.Pins(ctx, name)
		if err != nil {
			return nil, err
		}
		c, err := next(before.Pins, newest)
		if err != nil || c == nil {
			made.Pins, refused = before.Pins, err
			return nil, err
		}
		made = *c
		return made, nil
	}
	if a.DryRun {
		newest, err := p.Store.NewestEntry(ctx, name)
		if err == nil {
			_, err = content(ctx, newest)
		}
		return Result{Change: made}, err
	}
	appended, err := p.Journal.Append(ctx, name, journal.Note{Kind: kind, By: a.By, Reason: a.Reason, RequestID: a.RequestID, Content: content})
	switch {
	case refused != nil && errors.Is(err, refused):
		return Result{}, refused // no write to the journal has failed
	case errors.Is(err, dataset.ErrEntry) && !errors.Is(err, store.ErrDamaged):
		return Result{}, fmt.Errorf("%w: the pins of %s are too long for one entry: %w; remove some", ErrInput, name, err)
	case err != nil:
		return Result{}, err
	case appended.Entry.Number == 0:
		return Result{Change: made}, nil
	}
	if made, err = appended.Entry.PinChange(); err != nil {
		return Result{}, err
	}
	return Result{
		Change: made, Entry: appended.Entry.Number, Changed: !appended.Repeated, Announced: appended.Announced, Warnings: appended.Warnings,
	}, nil
}

// version returns the record of the version to pin, whose objects the store has.
func (p Pins) version(ctx context.Context, in Input) (dataset.VersionRecord, error) {
	rec, err := p.Store.Version(ctx, in.Dataset, in.Version)
	if errors.Is(err, store.ErrNotFound) {
		newest, err := store.NewestVersion(ctx, p.Store, in.Dataset)
		switch {
		case err != nil:
			return rec, fmt.Errorf("look up version %d of %s: %w", in.Version, in.Dataset, err)
		case newest == 0:
			return rec, fmt.Errorf("%w: %s", ErrNoVersion, in.Dataset)
		}
		return rec, fmt.Errorf("%w: dataset %s has no version %d; its nearest version is %d, the newest", ErrUnknownVersion, in.Dataset, in.Version, newest)
	}
	if err != nil {
		return rec, fmt.Errorf("look up version %d of %s: %w", in.Version, in.Dataset, err)
	}
	if id := rec.VersionID().String(); !strings.HasPrefix(id, in.ID) {
		return rec, fmt.Errorf("%w: version %d of dataset %s has the id %s, not %s", ErrUnknownVersion, in.Version, in.Dataset, id, in.ID)
	}
	if rec.Deleted {
		return rec, fmt.Errorf("%w: version %d of dataset %s is %s, so there is nothing to hold; name a version with records: freshet versions %[3]s lists them",
			ErrInput, in.Version, in.Dataset, rec.DeletedText())
	}
	for _, o := range rec.Chain() {
		size, err := p.Store.StatObject(ctx, o.Digest)
		switch {
		case errors.Is(err, store.ErrNotFound):
			if explained := gone.Explain(ctx, p.Store, rec, err); errors.Is(explained, ErrGone) {
				return rec, explained
			}
			return rec, fmt.Errorf("%w: the store lacks object %s of version %s, at %s; pin a version that the store still has",
				ErrLost, o.Digest, rec.ID(), p.Store.ObjectPlace(o.Digest))
		case err != nil:
			return rec, fmt.Errorf("look up object %s of version %s: %w", o.Digest, rec.ID(), err)
		case size != o.Bytes:
			return rec, fmt.Errorf("%w: object %s of version %s has %d bytes at %s, not %d; repair it with freshet verify %s --repair",
				ErrLost, o.Digest, rec.ID(), size, p.Store.ObjectPlace(o.Digest), o.Bytes, in.Dataset)
		}
	}
	return rec, nil
}

// hold keeps what the version to pin is loaded from from garbage collections until the pin is in the journal, which they read.
func (p Pins) hold(ctx context.Context, in Input, rec dataset.VersionRecord) (*hold.Note, error) {
	held, err := hold.Take(ctx, p.Store, rec.Chain())
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
		if _, lost := p.version(ctx, in); lost != nil { // it says more
			err = lost
		}
	}
	if err != nil {
		return nil, err
	}
	removed, err := gone.Of(ctx, p.Store, in.Dataset)
	if err == nil && removed.Contains(rec.Version) { // a collection that died may have left a part
		err = removed.Error(rec)
	}
	if err != nil {
		held.Drop(ctx)
		return nil, err
	}
	return held, nil
}

func (in Input) check() error {
	if err := check(in.Dataset, in.Select, in.Audit); err != nil {
		return err
	}
	if in.Version == 0 {
		return fmt.Errorf("%w: no version is named; name one with --version N; freshet versions %s lists them", ErrInput, in.Dataset)
	}
	return nil
}

// check refuses what no journal could make right.
func check(name string, sel fleet.Selection, a Audit) error {
	err := dataset.CheckName(name)
	if err == nil {
		err = sel.Check()
	}
	if err == nil {
		err = dataset.CheckAudit(a.By, a.Reason)
	}
	switch {
	case err != nil:
	case strings.TrimSpace(a.Reason) == "":
		err = errors.New("there is no reason; say why, for those who read the journal later")
	case a.RequestID != "":
		err = dataset.CheckRequestID(a.RequestID)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	return nil
}
