package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// maxTries is how often Set starts again because another change came first.
const maxTries = 100

// requestEntries is how many of the last entries Set searches for a RequestID.
const requestEntries = 100

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
	// RequestID is the id of the request, drawn by its caller; it may be empty. If one of the last 100 entries of the journal has it, an
	// earlier call made the change, and Set makes no second one, whatever changed since.
	RequestID string
}

// Result is the outcome of Set.
type Result struct {
	// Current are the settings after the call.
	Current
	// Changed is false if the settings had the values already, or if an earlier call with the RequestID made the change. Then there is no
	// new entry; after such an earlier call, Current are the settings that it made.
	Changed bool
	// Announced reports whether the entry was sent over NATS. NATS may still deny it, if the account may not publish there: it says so only
	// later. Those who follow the events then see the entry within a minute.
	Announced bool
	// Warnings say what failed after the change was in the store, and whether entries follow that of an earlier call.
	Warnings []string
}

// Set changes the settings of the dataset, which need not have a version. It returns [ErrChange] for a change that is refused, [ErrBusy],
// or an error of the store. After an error that wraps [store.ErrUnknown], the change may be in the store: a call with the same RequestID
// makes it if it is not. Without a RequestID, such a call may set the values again over those of a change in between.
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
	if result, err := j.earlier(ctx, name, c, newest); err != nil || result.Entry.Number > 0 {
		return result, result.Entry, err
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

// earlier returns the result of an earlier call with the change's RequestID; the zero Result if there is none among the last entries.
func (j *Journal) earlier(ctx context.Context, name string, c Change, newest uint64) (Result, error) {
	if c.RequestID == "" || newest == 0 {
		return Result{}, nil
	}
	entries, err := j.deps.Store.Entries(ctx, name, max(newest, requestEntries)-requestEntries+1, requestEntries)
	if _, damaged := errors.AsType[store.EntryErrors](err); err != nil && !damaged {
		return Result{}, err
	}
	for _, e := range slices.Backward(entries) {
		if e.RequestID != c.RequestID || e.Kind != dataset.EntrySettings {
			continue
		}
		change, err := e.SettingsChange()
		if err != nil {
			return Result{}, err
		}
		if err := c.madeBy(e, change.Settings); err != nil {
			return Result{}, err
		}
		result := Result{Current: Current{change.Settings, e}}
		if newest > e.Number {
			result.Warnings = append(result.Warnings, fmt.Sprintf("an earlier request with this id made the change, as journal entry %d, and this one changed nothing; "+
				"entries up to %d follow, which may have changed the settings", e.Number, newest))
		}
		return result, nil
	}
	return Result{}, nil
}

// madeBy fails unless the entry, which has the change's RequestID and made the settings, made the change.
func (c Change) madeBy(e dataset.Entry, settings dataset.Settings) error {
	from := settings
	if c.Replace {
		from = dataset.Settings{}
	}
	again, err := from.With(c.Set)
	if err != nil {
		return refusal{err}
	}
	differ, err := settings.Diff(again)
	if err == nil && len(differ) > 0 {
		err = fmt.Errorf("%w: journal entry %d, of another change, has the request id %q; draw a new id for each change", ErrChange, e.Number, c.RequestID)
	}
	return err
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
