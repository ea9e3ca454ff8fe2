package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/publisher"
)

// settingsFlags are the flags of settings.
type settingsFlags struct {
	publisher  string
	set, unset []string
	replace    bool
	by, reason string
	out        output
}

func newSettings(p Process) *cobra.Command {
	var f settingsFlags
	cmd := &cobra.Command{
		Use:   "settings DATASET",
		Short: "Show or change the settings of a dataset, such as its gates",
		Example: `  freshet settings prices
  freshet settings prices --set min_records=1000 --set max_fewer_records_percent=10 --reason "the feed was cut twice"
  freshet settings prices --set schema="$(cat schema.json)" --reason "prices came as text"
  freshet settings prices --unset min_records --reason "the season is over"`,
		Long: `Show or change the settings of a dataset. They are kept in the store, with a journal entry for each change, which
"freshet events" shows: when, by whom and why.

The gates bound what a version may change. A publisher refuses a version that does not meet them:

` + settingsText() + `
The dataset need not have a version: its settings then hold from the first publish on.

If the outcome of a change is unknown, "freshet events DATASET" shows whether it was made. To run the command again is a
further change: it sets the values over those that another change set since. If the newest settings are damaged in the
store and there is no good copy of their entry, --replace with a --set for each sets all settings again.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), p, args[0]) },
	}
	publisherURL.add(cmd, p, &f.publisher)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.set, "set", nil, "a setting and its new value as `NAME=VALUE`; may be repeated")
	flags.StringArrayVar(&f.unset, "unset", nil, "the `NAME` of a setting to unset, so that its default holds; may be repeated")
	flags.BoolVar(&f.replace, "replace", false, "unset every setting that is not named by --set")
	flags.StringVar(&f.reason, "reason", "", "why; required for a change, and kept with it")
	flags.StringVar(&f.by, "by", "", "who makes the change, kept with it (default: user@host)")
	f.out.add(cmd)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) })
	var names, assignments []string
	for _, k := range dataset.KnownSettings() {
		names, assignments = append(names, k.Name), append(assignments, k.Name+"=")
	}
	complete(cmd, "set", assignments...)
	complete(cmd, "unset", names...)
	return cmd
}

// settingsText returns the settings for the help, one or two lines each.
func settingsText() string {
	var b strings.Builder
	for _, k := range dataset.KnownSettings() {
		fmt.Fprintf(&b, "  %s (default: %s)\n      %s\n", k.Name, k.Default, k.Meaning)
	}
	return b.String()
}

func (f *settingsFlags) run(ctx context.Context, p Process, name string) error {
	if err := dataset.CheckName(name); err != nil {
		return exit.With(exit.Usage, err)
	}
	change, err := f.change()
	if err != nil {
		return err
	}
	c, err := client.New(f.publisher, "publisher", publisherURL.hint())
	if err != nil {
		return err
	}
	defer c.Close()
	var got publisher.DatasetSettings
	if change == nil {
		got, err = c.Settings(ctx, name)
	} else {
		got, err = c.ChangeSettings(ctx, name, *change, rand.Text())
	}
	if errors.Is(err, client.ErrUnknown) {
		return fmt.Errorf("%w; it is not known whether the settings were changed: look at `freshet events %s`, and run the command again if it does not show the change", err, name)
	}
	if err != nil {
		return err
	}
	if f.out == jsonOutput {
		err = writeJSON(p.Out, got)
	} else {
		err = printSettings(p, got)
	}
	for _, w := range got.Warnings {
		fmt.Fprintf(p.Err, "freshet: warning: %s\n", w)
	}
	return err
}

// change returns the change that the flags describe; nil if there is none.
func (f *settingsFlags) change() (*publisher.SettingsChange, error) {
	if len(f.set)+len(f.unset) == 0 && !f.replace {
		if f.reason != "" || f.by != "" {
			return nil, exit.Errorf(exit.Usage, "--reason and --by belong to a change: add --set or --unset, or leave them out")
		}
		return nil, nil
	}
	if strings.TrimSpace(f.reason) == "" {
		return nil, exit.Errorf(exit.Usage, `a change of settings needs --reason, for those who read the events later: --reason "why"`)
	}
	values := map[string]json.RawMessage{}
	for _, text := range f.set {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return nil, exit.Errorf(exit.Usage, "--set %q: want name=value; --unset removes a setting", text)
		}
		if values[name] != nil {
			return nil, exit.Errorf(exit.Usage, "the setting %s comes twice", name)
		}
		if values[name] = json.RawMessage(value); !json.Valid(values[name]) {
			quoted, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			values[name] = quoted
		}
	}
	for _, name := range f.unset {
		if values[name] != nil {
			return nil, exit.Errorf(exit.Usage, "the setting %s comes twice", name)
		}
		values[name] = json.RawMessage("null")
	}
	return &publisher.SettingsChange{Settings: values, Replace: f.replace, By: cmp.Or(f.by, caller()), Reason: f.reason}, nil
}

var settingsColumns = []show.Column{{Title: "setting"}, {Title: "value", Align: show.Right}, {Title: "default"}, {Title: "meaning"}}

// shortValue returns the value of a setting for a table: a schema has thousands of bytes, which --output json shows.
func shortValue(value string) string {
	const most = 60
	if len(value) <= most {
		return value
	}
	return strings.ToValidUTF8(value[:most-20], "") + fmt.Sprintf("... (%d bytes)", len(value))
}

// printSettings prints all settings, and the change that made them.
func printSettings(p Process, s publisher.DatasetSettings) error {
	values, err := s.Settings.Values()
	if err != nil {
		return err
	}
	var rows [][]string
	for _, k := range dataset.KnownSettings() {
		rows = append(rows, []string{k.Name, cmp.Or(shortValue(string(values[k.Name])), show.None), k.Default, k.Meaning})
		delete(values, k.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		rows = append(rows, []string{name, shortValue(string(values[name])), "", "a setting of a later release, which this one does not know"})
	}
	if err := show.Table(p.Out, settingsColumns, rows); err != nil {
		return err
	}
	if s.Changed != nil && !*s.Changed {
		fmt.Fprintf(p.Out, "%s: the settings had these values already; nothing was changed\n", s.Dataset)
	}
	if s.Entry > 0 {
		_, err = fmt.Fprintf(p.Out, "%s: set %s by %s, journal entry %d: %s\n", s.Dataset, s.Time.In(time.Local).Format(time.DateTime), cmp.Or(s.By, "someone unnamed"), s.Entry, s.Reason)
	}
	return err
}
