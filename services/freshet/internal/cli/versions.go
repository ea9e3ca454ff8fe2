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

A version whose bytes were removed, because retention does not keep it, has gone in the place of both sizes; in JSON, the member gone.
It can be neither read nor rolled back to.

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
			list, err := c.Versions(cmd.Context(), name, limit)
			if err != nil {
				return err
			}
			if out == jsonOutput {
				err = writeJSON(p.Out, versionList(list))
			} else {
				err = show.Table(p.Out, versionColumns, versionRows(list, time.Local))
			}
			return errors.Join(err, verdictOn(list.Damaged))
		},
	}
	publisherURL.add(cmd, p, &publisher)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, publisher) })
	cmd.Flags().IntVar(&limit, "limit", 20, "list at most this many versions")
	out.add(cmd)
	return cmd
}

const (
	// damagedText is the commit time of a damaged version in the table.
	damagedText = "damaged"
	// goneText is the size of the files of a version whose bytes are gone.
	goneText = "gone"
)

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

// goneVersion is a version whose bytes are gone. Its JSON is that of the record, with the member gone.
type goneVersion struct{ record dataset.VersionRecord }

func (g goneVersion) MarshalJSON() ([]byte, error) {
	text, err := g.record.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return append(text[:len(text)-1], `,"gone":true}`...), nil
}

// versionList merges all versions into one list, newest first.
func versionList(list publisher.VersionList) []any {
	damaged := list.Damaged
	all := make([]any, 0, len(list.Versions)+len(damaged))
	for _, r := range list.Versions {
		for len(damaged) > 0 && damaged[0].Version > r.Version {
			all, damaged = append(all, damaged[0]), damaged[1:]
		}
		if list.Gone.Contains(r.Version) {
			all = append(all, goneVersion{r})
		} else {
			all = append(all, r)
		}
	}
	for _, d := range damaged {
		all = append(all, d)
	}
	return all
}

// versionRows returns the rows of the newest versions, with times in the zone.
func versionRows(list publisher.VersionList, zone *time.Location) [][]string {
	// By version. Only newer versions name a snapshot that was written after its version.
	snapshots := map[uint64]string{}
	for _, r := range list.Versions {
		snapshots[r.Snapshot.Version] = show.Bytes(r.Snapshot.Bytes)
	}
	var rows [][]string
	for _, v := range versionList(list) {
		r, ok := v.(dataset.VersionRecord)
		g, gone := v.(goneVersion)
		if gone {
			r, ok = g.record, true
		}
		if !ok {
			rows = append(rows, []string{strconv.FormatUint(v.(publisher.DamagedVersion).Version, 10), damagedText})
			continue
		}
		delta, snapshot := show.Delta(r), cmp.Or(snapshots[r.Version], show.None)
		if gone {
			delta, snapshot = goneText, goneText
		}
		rows = append(rows, []string{
			strconv.FormatUint(r.Version, 10),
			r.Created.In(zone).Format(time.DateTime),
			r.VersionID().Short(),
			show.RecordCount(r),
			show.Count(r.Changes.Added),
			show.Count(r.Changes.Changed),
			show.Count(r.Changes.Removed),
			delta,
			snapshot,
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
