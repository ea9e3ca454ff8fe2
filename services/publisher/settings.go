package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/nearest"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
)

const (
	// maxSettingsBytes bounds the body of a change of settings.
	maxSettingsBytes = 64 << 10
	// hintTimeout bounds the search for similar names: a hint is no part of the answer.
	hintTimeout = 2 * time.Second
)

// DatasetSettings is the answer about the settings of a dataset.
type DatasetSettings struct {
	Dataset string `json:"dataset"`
	// Version is the newest version; absent if there is none yet.
	Version uint64 `json:"version,omitempty"`
	// Settings are those that are set, by name.
	Settings dataset.Settings `json:"settings"`
	// Entry is the number of the journal entry that made them; absent if nothing was ever set. Time, By and Reason are those of the entry.
	Entry  uint64    `json:"entry,omitempty"`
	Time   time.Time `json:"time,omitzero"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	// Changed and Announced are absent in the answer to GET: whether the request changed a setting, and whether that was sent over NATS,
	// which may still deny it; those who follow the events then see it within a minute.
	Changed   *bool `json:"changed,omitempty"`
	Announced *bool `json:"announced,omitempty"`
	// Warnings say what failed after the change, that the dataset has no version, and that its records keep their keys.
	Warnings []string `json:"warnings,omitempty"`
}

// SettingsChange is the body of a change of settings.
type SettingsChange struct {
	// Settings has the new values, by name; null unsets a setting.
	Settings map[string]json.RawMessage `json:"settings"`
	// Replace unsets all settings that are not in Settings.
	Replace bool `json:"replace,omitempty"`
	// By is who makes the change, Reason why.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason"`
}

// newJournal returns the journal of the store. Without NATS its entries are not announced.
func newJournal(cfg Config, deps Deps) (*journal.Journal, error) {
	with := journal.Deps{Store: deps.Store}
	if deps.NATS != nil {
		with.Announce = func(ctx context.Context, e dataset.Entry) error {
			return events.SendEntry(ctx, deps.NATS, cfg.Namespace, e)
		}
	}
	return journal.New(journal.Config{Log: deps.Log}, with)
}

// settings answers GET /v1/datasets/{name}/settings.
func (p *Publisher) settings(w http.ResponseWriter, r *http.Request) error {
	name, err := datasetName(r)
	if err != nil {
		return err
	}
	if _, err := web.Query(r); err != nil {
		return err
	}
	current, err := p.journal.Settings(r.Context(), name)
	if err != nil {
		return storeProblem(name, err)
	}
	answer, err := p.describe(r.Context(), name, current)
	if err != nil {
		return err
	}
	if answer.Version == 0 && current.Entry.Number == 0 {
		return p.noHistory(r.Context(), name)
	}
	return web.WriteJSON(w, http.StatusOK, answer)
}

// changeSettings answers PATCH /v1/datasets/{name}/settings.
func (p *Publisher) changeSettings(w http.ResponseWriter, r *http.Request) error {
	var change SettingsChange
	name, id, err := readChange(w, r, maxSettingsBytes, &change)
	if err != nil {
		return err
	}
	result, err := p.journal.Set(r.Context(), name, journal.Change{
		Set: change.Settings, Replace: change.Replace, By: change.By, Reason: change.Reason, RequestID: id,
	})
	if err != nil {
		return settingsProblem(name, id, err)
	}
	answer, err := p.describe(r.Context(), name, result.Current)
	if err != nil { // the change is in the store
		answer = describe(name, result.Current)
		answer.Warnings = append(answer.Warnings, "the newest version of the dataset could not be read")
	}
	answer.Changed, answer.Announced = &result.Changed, &result.Announced
	if result.Changed && answer.Version > 0 {
		answer.Warnings = append(answer.Warnings, ofKey(result.Entry, answer.Version)...)
	}
	answer.Warnings = append(answer.Warnings, result.Warnings...)
	return web.WriteJSON(w, http.StatusOK, answer)
}

// ofKey returns a warning if the entry changes the key of a dataset that has versions. A patch is not compared with the keys of records.
func ofKey(e dataset.Entry, newest uint64) []string {
	change, err := e.SettingsChange()
	if err != nil || change.Changes["key"] == nil || len(change.Settings.Input.Key) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the records of version %d keep the keys that they have; if the setting key does not name the members of these, "+
		"publish all records before the next patch, which would add records under other keys to them", newest)}
}

// describe returns the settings of the dataset with its newest version.
func (p *Publisher) describe(ctx context.Context, name string, current journal.Current) (DatasetSettings, error) {
	answer := describe(name, current)
	newest, err := store.NewestVersion(ctx, p.deps.Store, name)
	if err != nil {
		return answer, storeProblem(name, err)
	}
	if answer.Version = newest; newest == 0 {
		answer.Warnings = append(answer.Warnings, fmt.Sprintf("dataset %s has no version yet; its settings hold from its first publish on%s", name, p.hint(ctx, name)))
	}
	return answer, nil
}

func describe(name string, current journal.Current) DatasetSettings {
	e := current.Entry
	return DatasetSettings{Dataset: name, Settings: current.Settings, Entry: e.Number, Time: e.Time, By: e.By, Reason: e.Reason}
}

// noHistory returns the problem for a dataset with neither a version nor a journal. It names those with similar names.
func (p *Publisher) noHistory(ctx context.Context, name string) error {
	return web.Refuse(http.StatusNotFound, "unknown-dataset", "dataset %s has neither a version nor settings%s", name, p.hint(ctx, name)).With("dataset", name)
}

// hint returns the names of the datasets that name may mean, as nearest.Hint does.
func (p *Publisher) hint(ctx context.Context, name string) string {
	return nearest.Hint(name, p.others(ctx, name))
}

// others returns the names of the datasets but name, none if the store does not list them in time.
func (p *Publisher) others(ctx context.Context, name string) []string {
	ctx, cancel := context.WithTimeout(ctx, hintTimeout)
	defer cancel()
	names, err := p.deps.Store.Datasets(ctx)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(names, func(known string) bool { return known == name })
}

// settingsProblem returns the problem that answers a change of settings that failed with err. requestID is the id of the request, or empty.
func settingsProblem(name, requestID string, err error) error {
	switch {
	case errors.Is(err, journal.ErrChange):
		return web.Refuse(http.StatusBadRequest, "bad-settings", "%v", err).With("dataset", name)
	case errors.Is(err, journal.ErrBusy):
		return web.Unavailable("busy", 2, err, "%v; nothing was changed; try again", err).With("dataset", name)
	case errors.Is(err, store.ErrUnknown):
		next := "send the request again: a change that was made is not made twice"
		if requestID == "" {
			next = "the events of the dataset show it if it has; send the request again if not, with the header " + requestIDHeader + ", so that it can be repeated safely"
		}
		return web.Unavailable("change-unknown", 2, err, "the store did not answer whether it has the new settings of dataset %s; %s", name, next).With("dataset", name)
	}
	return storeProblem(name, err)
}
