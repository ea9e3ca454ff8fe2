// Package rules holds the texts that a dataset is published from to the dataset's input rules.
//
// The first publish of a dataset sets the key. It writes the setting before it commits version 1: of several first publishes with different
// keys one sets its own, and the others are refused, whichever version is committed first. A publish that dies between the two leaves a
// dataset that has the setting and no version. The next publish needs the same key, or a change of the setting.
package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/input"
)

// DefaultKey is the key of an input that names none, of a dataset without the setting.
const DefaultKey = "key"

// ErrKey is the cause of a Refusal of an input that names another key than its dataset has.
var ErrKey = errors.New("another key than that of the dataset")

// firstReason is the reason of the journal entry that a first publish writes.
const firstReason = "set by the first publish"

// Rules has the input rules of datasets.
type Rules struct {
	// Settings returns the settings of a dataset; nil stands for the zero Settings, which are never filled.
	Settings func(ctx context.Context, name string) (dataset.Settings, error)
	// Fill sets those of the values that are not set, and returns the settings after that; nil sets nothing.
	Fill func(ctx context.Context, name string, values map[string]json.RawMessage, by, reason string) (dataset.Settings, error)
	// FirstOf returns the settings that a first publish sets in addition to the key, given those that are set; nil for none.
	FirstOf func(set dataset.Settings) map[string]json.RawMessage
	History *versions.History
}

// Spec describes an input.
type Spec struct {
	Dataset string
	Newest  dataset.VersionRecord // the newest version; the zero record if there is none
	// Repeated says that an earlier call with the request id made a version: the input is only compared with that.
	Repeated bool
	Key      []string // that the input names; nil if it names none
	CSV      bool
	By       string
}

// Ruling are the rules for one input.
type Ruling struct {
	Spec
	of      *Rules
	rules   dataset.InputRules // with the key, and the numbers that are keys, that hold for the input
	held    input.Types
	sampled dataset.Ref // the version whose records have the key
}

// Of returns the rules for an input. It refuses one that names another key than the dataset has. For a dataset of an earlier release, which
// has no key yet, the key must be that of records of its newest version.
func (r *Rules) Of(ctx context.Context, spec Spec) (*Ruling, error) {
	g := &Ruling{Spec: spec, of: r}
	settings, err := r.settings(ctx, spec.Dataset)
	if err != nil {
		return nil, err
	}
	g.rules = settings.Input
	known := len(g.rules.Key) > 0
	switch {
	case len(spec.Key) > 0 && known && !spec.Repeated:
		if err := g.checkKey(g.rules.Key); err != nil {
			return nil, err
		}
	case len(spec.Key) > 0:
		g.rules.Key = spec.Key
	case !known:
		g.rules.Key = dataset.Names{DefaultKey}
	}
	if r.fills() && g.rules.NumberKeys == "" && spec.Newest.Version == 0 {
		g.rules.NumberKeys = dataset.NumbersPlain
	}
	if err := g.rules.Check(); err != nil {
		return nil, &input.Refusal{Problem: "the settings of the dataset do not fit the key: " + err.Error(), Hint: "name another key, or change the setting"}
	}
	untyped := spec.CSV && (g.rules.CSVNumbers == nil || g.rules.CSVBooleans == nil)
	if r.Settings == nil || spec.Repeated || known && !untyped {
		return g, nil
	}
	return g, g.sample(ctx, spec.Newest, !known)
}

func (r *Rules) settings(ctx context.Context, name string) (s dataset.Settings, err error) {
	if r.Settings == nil {
		return s, nil
	}
	if s, err = r.Settings(ctx, name); err != nil {
		err = fmt.Errorf("read the settings of dataset %q: %w", name, err)
	}
	return s, err
}

// fills reports whether a first publish sets settings.
func (r *Rules) fills() bool { return r.Settings != nil && r.Fill != nil }

// Key returns the key of the input.
func (g *Ruling) Key() input.Key {
	return input.Key{Members: g.rules.Key, Numbers: g.rules.NumberKeys}
}

// Options returns the options of the input's source.
func (g *Ruling) Options() []input.Option {
	return []input.Option{input.Rules(g.rules), input.Held(g.held)}
}

// Hold sets the key of a dataset that has none, before the commit of the version after newest. It refuses the input if the settings are no
// longer those that it was read with.
func (g *Ruling) Hold(ctx context.Context, newest dataset.VersionRecord) error {
	settings, err := g.of.settings(ctx, g.Dataset)
	if err != nil {
		return err
	}
	if !g.of.fills() {
		return g.compare(settings.Input)
	}
	values, err := g.missing(ctx, newest, settings)
	if err != nil {
		return err
	}
	if len(values) > 0 {
		reason := firstReason
		if newest.Version > 0 {
			reason = fmt.Sprintf("set by the publish after version %d, whose records have this key", newest.Version)
		}
		if settings, err = g.of.Fill(ctx, g.Dataset, values, g.By, reason); err != nil {
			return fmt.Errorf("set the key of dataset %q: %w", g.Dataset, err)
		}
	}
	return g.compare(settings.Input)
}

// first returns the settings that a first publish sets in addition to the key.
func (r *Rules) first(set dataset.Settings) map[string]json.RawMessage {
	values := map[string]json.RawMessage{}
	if r.FirstOf != nil {
		maps.Copy(values, r.FirstOf(set))
	}
	return values
}

// First returns a function that sets the settings of a dataset before the commit of its first version, if that has no key: its records are
// from Go.
func (r *Rules) First(name, by string) func(ctx context.Context, newest dataset.VersionRecord) error {
	return func(ctx context.Context, newest dataset.VersionRecord) error {
		if newest.Version > 0 || !r.fills() || r.FirstOf == nil {
			return nil
		}
		settings, err := r.settings(ctx, name)
		if err != nil {
			return err
		}
		if values := r.first(settings); len(values) > 0 {
			if _, err := r.Fill(ctx, name, values, by, firstReason); err != nil {
				return fmt.Errorf("set the first settings of dataset %q: %w", name, err)
			}
		}
		return nil
	}
}

// missing returns the settings that the publish after newest sets, of those that are not set.
func (g *Ruling) missing(ctx context.Context, newest dataset.VersionRecord, set dataset.Settings) (map[string]json.RawMessage, error) {
	values := map[string]json.RawMessage{}
	if newest.Version == 0 {
		values = g.of.first(set)
	}
	if newest.Version == 0 && set.Input.NumberKeys == "" {
		values["number_keys"] = json.RawMessage(strconv.Quote(string(g.rules.NumberKeys)))
	}
	if len(set.Input.Key) > 0 {
		return values, nil
	}
	if newest.Version > 0 && newest.Ref() != g.sampled {
		if err := g.sample(ctx, newest, true); err != nil {
			return nil, err
		}
		if newest.Ref() != g.sampled {
			return nil, nil // its records have no members, so they do not show what their key is
		}
	}
	text, err := json.Marshal(g.rules.Key)
	values["key"] = text
	return values, err
}

// compare refuses the input if now, the rules of the dataset, are no longer those that it was read with.
func (g *Ruling) compare(now dataset.InputRules) error {
	if len(now.Key) > 0 {
		if err := g.checkKey(now.Key); err != nil {
			return err
		}
	}
	if now.NumberKeys != "" && now.NumberKeys != g.rules.NumberKeys {
		return &input.Refusal{
			Problem: fmt.Sprintf("the setting number_keys changed to %s while the input was read", now.NumberKeys), Hint: "publish it again",
		}
	}
	return nil
}

// checkKey refuses the input unless its key is that of the dataset.
func (g *Ruling) checkKey(of []string) error {
	named := g.Key().Members
	if len(g.Spec.Key) > 0 {
		named = g.Spec.Key
	}
	if slices.Equal(of, named) {
		return nil
	}
	return &input.Refusal{
		Problem: fmt.Sprintf("the key of the dataset is %s, by its setting key, and this publish has %s", list(of), list(named)),
		Hint:    "leave the key out (--key, key over HTTP, Key in Go); " + g.change(named), Err: ErrKey,
	}
}

// change says how to change the key.
func (g *Ruling) change(to []string) string {
	text, _ := json.Marshal(dataset.Names(to))                                              // names are strings
	if len(to) == 1 && string(text) == strconv.Quote(to[0]) && !json.Valid([]byte(to[0])) { // it needs no quotes
		text = []byte(to[0])
	}
	value := strings.ReplaceAll("key="+string(text), "'", `'\''`)
	return fmt.Sprintf("to change it, set it, and then publish all records, with --allow-shrink and --reason if a gate asks for it: "+
		"freshet settings %s --set '%s' --reason TEXT", g.Dataset, value)
}

// list returns the members for a message.
func list(members []string) string {
	quoted := make([]string, len(members))
	for i, m := range members {
		quoted[i] = fmt.Sprintf("%.64q", m)
	}
	return strings.Join(quoted, ", ")
}
