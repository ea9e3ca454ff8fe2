package cli

import (
	"cmp"
	"context"
	"errors"
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
	"freshet.dev/services/publisher"
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
		Example: `  freshet versions prices --limit 5
  freshet versions prices --output json | jq '.[0].changes'`,
		Long: `List the versions of a dataset, newest first.

  id        the first 12 digits of the version id, for publish --base
  records  how many records the version has; deleted if the version deletes the dataset
  added, changed, removed
            the records by which the version differs from the version before
  delta     the size of the file with these changes, which an instance on the version before pulls
  snapshot  the size of the file with all records; - if the version has no snapshot and is built from an older snapshot
  chain     how many deltas follow that snapshot; an instance without an older version pulls the snapshot and the deltas
  promise   when the next version is promised (publish --expect-every)

A snapshot that the publisher writes in the background after patches appears once the next version is published.

A version whose record in the store is damaged is listed as damaged; in JSON, as an object with the members dataset,
version and damaged. stderr names the damage, the record's file or key and what to do. The exit code is then ` + strconv.Itoa(int(exit.Failure)) + `.`,
		Args: cobra.ExactArgs(1),
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
			records, damaged, err := c.Versions(cmd.Context(), name, limit)
			if err != nil {
				return err
			}
			if out == jsonOutput {
				err = writeJSON(p.Out, versionList(records, damaged))
			} else {
				err = show.Table(p.Out, versionColumns, versionRows(records, damaged, time.Local))
			}
			return errors.Join(err, verdictOn(damaged))
		},
	}
	publisherURL.add(cmd, p, &publisher)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, publisher) })
	cmd.Flags().IntVar(&limit, "limit", 20, "list at most this many versions")
	out.add(cmd)
	return cmd
}

// damagedText is the commit time of a damaged version in the table.
const damagedText = "damaged"

var versionColumns = []show.Column{
	{Title: "version", Align: show.Right},
	{Title: "committed"},
	{Title: "id"},
	{Title: "records", Align: show.Right},
	{Title: "added", Align: show.Right},
	{Title: "changed", Align: show.Right},
	{Title: "removed", Align: show.Right},
	{Title: "delta", Align: show.Right},
	{Title: "snapshot", Align: show.Right},
	{Title: "chain", Align: show.Right},
	{Title: "promise", Align: show.Right},
	{Title: "source"},
	{Title: "labels"},
}

// verdictOn returns an error that describes the damaged versions; nil if there are none.
func verdictOn(damaged []publisher.DamagedVersion) error {
	var all []error
	for _, d := range damaged {
		all = append(all, errors.New(d.Damaged))
	}
	return exit.With(exit.Failure, errors.Join(all...))
}

// versionList merges records and damaged versions into one list, newest first.
func versionList(records []dataset.VersionRecord, damaged []publisher.DamagedVersion) []any {
	all := make([]any, 0, len(records)+len(damaged))
	for _, r := range records {
		for len(damaged) > 0 && damaged[0].Version > r.Version {
			all, damaged = append(all, damaged[0]), damaged[1:]
		}
		all = append(all, r)
	}
	for _, d := range damaged {
		all = append(all, d)
	}
	return all
}

// versionRows returns the rows of the newest versions, with times in the zone. records and damaged together have no gaps.
func versionRows(records []dataset.VersionRecord, damaged []publisher.DamagedVersion, zone *time.Location) [][]string {
	// By version. Only newer versions name a snapshot that was written after its version.
	snapshots := map[uint64]string{}
	for _, r := range records {
		snapshots[r.Snapshot.Version] = show.Bytes(r.Snapshot.Bytes)
	}
	var rows [][]string
	for _, v := range versionList(records, damaged) {
		r, ok := v.(dataset.VersionRecord)
		if !ok {
			rows = append(rows, []string{strconv.FormatUint(v.(publisher.DamagedVersion).Version, 10), damagedText})
			continue
		}
		rows = append(rows, []string{
			strconv.FormatUint(r.Version, 10),
			r.Created.In(zone).Format(time.DateTime),
			r.VersionID().Short(),
			show.RecordCount(r),
			show.Count(r.Changes.Added),
			show.Count(r.Changes.Changed),
			show.Count(r.Changes.Removed),
			show.Delta(r),
			cmp.Or(snapshots[r.Version], show.None),
			show.Count(show.Chain(r)),
			show.Promise(r),
			r.Source,
			labelText(r.Labels),
		})
	}
	return rows
}

// labelText returns labels as "a=1 b=2", sorted by name.
func labelText(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, name+"="+labels[name])
	}
	return strings.Join(parts, " ")
}
