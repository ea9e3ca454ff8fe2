package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// ErrChange is returned when a Change is refused; nothing was changed. The error says what to do.
var ErrChange = errors.New("the settings are not changed")

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

	unsetOnly bool // Set is only for settings that are not set
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
	var before base
	var after dataset.Settings
	appended, err := j.append(ctx, name, Note{
		Kind: dataset.EntrySettings, By: c.By, Reason: c.Reason, RequestID: c.RequestID,
		Content: func(ctx context.Context, newest uint64) (_ any, err error) {
			if before, after, err = j.apply(ctx, name, c, newest); err != nil {
				return nil, err
			}
			changes, err := before.Settings.Diff(after)
			if err != nil || len(changes) == 0 && !(c.Replace && before.damaged) {
				return nil, err
			}
			return dataset.SettingsChange{Settings: after, Changes: changes}, nil
		},
	})
	switch {
	case errors.Is(err, ErrChange):
		return Result{}, err
	case errors.Is(err, dataset.ErrEntry) && !errors.Is(err, store.ErrDamaged): // too large
		return Result{}, refusal{err}
	case err != nil:
		return Result{}, fmt.Errorf("change the settings of dataset %s: %w", name, err)
	case appended.Repeated:
		return c.earlier(appended)
	case appended.Entry.Number == 0:
		return Result{Current: before.Current}, nil
	}
	change, err := appended.Entry.SettingsChange()
	if err != nil {
		return Result{}, fmt.Errorf("change the settings of dataset %s: %w", name, err)
	}
	result := Result{Current: Current{change.Settings, appended.Entry}, Changed: true, Announced: appended.Announced, Warnings: appended.Warnings}
	j.remember(name, known{newest: appended.Entry.Number, current: result.Current, looked: appended.looked, read: appended.looked})
	return result, nil
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

// earlier returns the result of an earlier call with the change's RequestID.
func (c Change) earlier(appended Appended) (Result, error) {
	change, err := appended.Entry.SettingsChange()
	if err != nil {
		return Result{}, err
	}
	if err := c.madeBy(appended.Entry, change.Settings); err != nil {
		return Result{}, err
	}
	result := Result{Current: Current{change.Settings, appended.Entry}}
	if appended.newest > appended.Entry.Number {
		result.Warnings = append(result.Warnings, fmt.Sprintf("an earlier request with this id made the change, as journal entry %d, and this one changed nothing; "+
			"entries up to %d follow, which may have changed the settings", appended.Entry.Number, appended.newest))
	}
	return result, nil
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
	if c.unsetOnly {
		if c.Set, err = unset(from, c.Set); err != nil {
			return before, after, err
		}
	}
	if after, err = from.With(c.Set); err == nil {
		err = checkSchema(from, after)
	}
	if err != nil {
		err = refusal{err}
	}
	return before, after, err
}

// refusal has the text of its error, which it wraps together with ErrChange.
type refusal struct{ error }

func (r refusal) Unwrap() []error { return []error{ErrChange, r.error} }
