package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
)

func newVersions(p Process) *cobra.Command {
	var (
		publisher string
		limit     int
		out       output
	)
	cmd := &cobra.Command{
		Use:   "versions DATASET",
		Short: "List the versions of a dataset, newest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if err := dataset.CheckName(name); err != nil {
				return exit.With(exit.Usage, err)
			}
			if limit < 1 {
				return exit.Errorf(exit.Usage, "--limit %d: want 1 or more", limit)
			}
			c, err := client.New(publisher, "publisher", publisherURL.hint())
			if err != nil {
				return err
			}
			defer c.Close()
			records, err := c.Versions(cmd.Context(), name, limit)
			if err != nil {
				return err
			}
			if out == jsonOutput {
				return writeJSON(p.Out, records)
			}
			return show.Table(p.Out, versionColumns, versionRows(records))
		},
	}
	publisherURL.add(cmd, p, &publisher)
	cmd.Flags().IntVar(&limit, "limit", 20, "how many versions to list at most")
	out.add(cmd)
	return cmd
}

var versionColumns = []show.Column{
	{Title: "version", Align: show.Right},
	{Title: "committed"},
	{Title: "records", Align: show.Right},
	{Title: "added", Align: show.Right},
	{Title: "changed", Align: show.Right},
	{Title: "removed", Align: show.Right},
	{Title: "snapshot", Align: show.Right},
	{Title: "source"},
	{Title: "labels"},
}

func versionRows(records []dataset.VersionRecord) [][]string {
	rows := make([][]string, len(records))
	for i, r := range records {
		rows[i] = []string{
			strconv.FormatUint(r.Version, 10),
			r.Created.Local().Format(time.DateTime),
			show.Count(r.State.Records),
			show.Count(r.Changes.Added),
			show.Count(r.Changes.Changed),
			show.Count(r.Changes.Removed),
			show.Bytes(r.Snapshot.Bytes),
			r.Source,
			labelText(r.Labels),
		}
	}
	return rows
}

// labelText returns labels as "a=1 b=2", by name.
func labelText(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, name+"="+labels[name])
	}
	return strings.Join(parts, " ")
}
