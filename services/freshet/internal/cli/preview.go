package cli

import (
	"fmt"

	"freshet.dev/pkg/publish"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
)

var previewColumns = []show.Column{
	{Title: ""},
	{Title: "now", Align: show.Right},
	{Title: "then", Align: show.Right},
}

// printPreview prints what a dry run says.
func printPreview(p Process, name string, seen *publish.Preview) error {
	if !seen.Creates {
		fmt.Fprintf(p.Out, "dry run: %s would stay at version %d; nothing changes\n", name, seen.Base.Version)
		return nil
	}
	now := show.None
	if seen.Base.Version > 0 {
		now = seen.Base.String()
	}
	fmt.Fprintf(p.Out, "dry run: nothing was published; this is what %s would be\n", name)
	err := show.Table(p.Out, previewColumns, [][]string{
		{"version", now, fmt.Sprint(seen.Base.Version + 1)},
		{"records", show.Count(seen.Before.Records), show.Count(seen.After.Records)},
		{"added", "", show.Count(seen.Changes.Added)},
		{"changed", "", show.Count(seen.Changes.Changed)},
		{"removed", "", show.Count(seen.Changes.Removed)},
		{"keys and values", show.Bytes(int64(seen.Before.PayloadBytes)), show.Bytes(int64(seen.After.PayloadBytes))},
		{"to pull", "", show.Bytes(seen.PullBytes)},
	})
	for _, gate := range seen.Allowed {
		fmt.Fprintf(p.Out, "gate passed with a reason: %s: %s\n", gate.Gate, gate.Detail)
	}
	for _, gate := range seen.Refused {
		fmt.Fprintf(p.Out, "refused by the gate: %s: %s\n", gate.Gate, gate.Detail)
	}
	if len(seen.Refused) == 0 {
		fmt.Fprintln(p.Out, "no gate would refuse it")
	}
	return err
}

// verdictOnPreview returns the error of a dry run whose version a gate would refuse; nil if none would.
func verdictOnPreview(name string, seen *publish.Preview) error {
	if err := seen.Err(name); err != nil {
		return exit.With(exit.Refused, fmt.Errorf("dry run: %w", err))
	}
	return nil
}
