package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// maxTries is how often Set starts again because another change came first.
const maxTries = 100

var (
	// ErrChange is returned when a Change is refused; nothing was changed. The error says what to do.
	ErrChange = errors.New("the settings are not changed")
	// ErrBusy is returned when other changes of the dataset's journal came first each time; nothing was changed.
	ErrBusy = errors.New("other changes of the dataset's journal came first each time")
)

// Change is a change of a dataset's settings.
type Change struct {
	// Set has the new values as JSON, by the names of [dataset.KnownSettings]; null unsets the setting.
	Set map[string]json.RawMessage
	// Replace makes Set all settings that are set: every other one is unset, also those of later releases. The settings before need not
	// be readable, so this heals a journal whose newest entry is damaged.
	Replace bool
	// By is who makes the change, as the caller names itself, such as "user@host"; it may be empty. Reason is why. It is required.
	By, Reason string
	// RequestID is the id of the request, if it has one. A request is not repeated by accident: the same values twice change nothing.
	RequestID string
}

// Result is the outcome of Set.
type Result struct {
	// Current are the settings after the call.
	Current
	// Changed is false if the settings had the values already. Then there is no new entry.
	Changed bool
	// Announced reports whether the entry was sent over NATS.
	Announced bool
	// Warnings say what failed after the change was in the store.
	Warnings []string
}

// Set changes the settings of the dataset, which need not have a version. It returns [ErrChange] for a change that is refused, [ErrBusy],
// or an error of the store. After an error that wraps [store.ErrUnknown], the change may be in the store; to repeat it does no harm.
func (j *Journal) Set(ctx context.Context, name string, c Change) (Result, error) {
	if err := c.check(name); err != nil {
		return Result{}, err
	}
	id, err := j.deps.Store.EnsureID(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("change the settings of dataset %s: %w", name, err)
	}
	var unknown *dataset.Entry // of an attempt whose outcome is unknown
	for range maxTries {
		looked := time.Now() // before the number of the newest entry is read
		result, e, err := j.try(ctx, name, c, id, unknown)
		switch {
		case err == nil && result.Changed:
			j.made(ctx, name, result.Current, looked)
			return j.announce(ctx, result), nil
		case err == nil:
			return result, nil
		case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrGap): // another change came first, or the store was replaced
		case errors.Is(err, store.ErrUnknown) && unknown == nil && ctx.Err() == nil:
			unknown = &e
		case errors.Is(err, ErrChange):
			return Result{}, err
		default:
			return Result{}, fmt.Errorf("change the settings of dataset %s: %w", name, err)
		}
	}
	return Result{}, fmt.Errorf("change the settings of dataset %s: %w", name, ErrBusy)
}

// check refuses a change that no settings before could make right.
func (c Change) check(name string) error {
	err := dataset.CheckName(name)
	if err == nil {
		err = dataset.CheckAudit(c.By, c.Reason)
	}
	switch {
	case err != nil:
	case strings.TrimSpace(c.Reason) == "":
		err = errors.New("the change has no reason; say why, for those who read the journal later")
	case len(c.Set) == 0 && !c.Replace:
		err = errors.New("no setting is named")
	case c.RequestID != "":
		err = dataset.CheckRequestID(c.RequestID)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChange, err)
	}
	return nil
}

// try makes one attempt. unknown is the entry of an earlier attempt, which may be in the store.
func (j *Journal) try(ctx context.Context, name string, c Change, id dataset.StoreID, unknown *dataset.Entry) (Result, dataset.Entry, error) {
	newest, err := j.deps.Store.NewestEntry(ctx, name)
	if err != nil {
		return Result{}, dataset.Entry{}, err
	}
	if unknown != nil {
		if e, err := j.deps.Store.Entry(ctx, name, unknown.Number); err == nil && e.Sum() == unknown.Sum() {
			change, err := e.SettingsChange()
			return Result{Current: Current{change.Settings, e}, Changed: true}, e, err
		}
	}
	before, after, err := j.apply(ctx, name, c, newest)
	if err != nil {
		return Result{}, dataset.Entry{}, err
	}
	changes, err := before.Settings.Diff(after)
	if err != nil {
		return Result{}, dataset.Entry{}, err
	}
	if len(changes) == 0 && !(c.Replace && before.damaged) {
		return Result{Current: before.Current}, dataset.Entry{}, nil
	}
	content, err := json.Marshal(dataset.SettingsChange{Settings: after, Changes: changes})
	if err != nil {
		return Result{}, dataset.Entry{}, err
	}
	e := dataset.Entry{
		StoreID: id, Dataset: name, Number: newest + 1, Kind: dataset.EntrySettings, Time: time.Now().UTC(),
		By: c.By, Reason: c.Reason, RequestID: c.RequestID, Content: content,
	}
	if _, err := e.Encode(); err != nil {
		return Result{}, e, fmt.Errorf("%w: %w", ErrChange, err)
	}
	if err := j.deps.Store.PutEntry(ctx, e); err != nil {
		return Result{}, e, err
	}
	return Result{Current: Current{after, e}, Changed: true}, e, nil
}

// made records and logs a change that is in the store. Other changes may have followed it since looked.
func (j *Journal) made(ctx context.Context, name string, c Current, looked time.Time) {
	j.remember(name, known{newest: c.Entry.Number, current: c, looked: looked, read: looked})
	j.cfg.Log.InfoContext(ctx, "settings changed", "dataset", name, "entry", c.Entry.Number, "by", c.Entry.By, "reason", c.Entry.Reason,
		"content", string(c.Entry.Content))
}

// base are the settings that a change starts from.
type base struct {
	Current
	damaged bool // the entry that has them is damaged, and they are taken as unset
}

// apply returns the settings before and after the change.
func (j *Journal) apply(ctx context.Context, name string, c Change, newest uint64) (before base, after dataset.Settings, err error) {
	before.Current, err = j.search(ctx, name, newest)
	if c.Replace && errors.Is(err, store.ErrDamaged) {
		before, err = base{damaged: true}, nil
	}
	if err != nil {
		return before, after, err
	}
	from := before.Settings
	if c.Replace {
		from = dataset.Settings{}
	}
	if after, err = from.With(c.Set); err != nil {
		err = refusal{err}
	}
	return before, after, err
}

// refusal has the text of its error, which it wraps together with ErrChange.
type refusal struct{ error }

func (r refusal) Unwrap() []error { return []error{ErrChange, r.error} }

// announce sends the entry of the result over NATS. The end of ctx does not stop it, because the change is in the store.
func (j *Journal) announce(ctx context.Context, r Result) Result {
	if j.deps.Announce == nil {
		return r
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	if err := j.deps.Announce(ctx, r.Entry); err != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the settings are in the store, as journal entry %d, and hold; they were not announced: %v; "+
			"programs that follow the events see them when they read the store next", r.Entry.Number, err))
		return r
	}
	r.Announced = true
	return r
}
