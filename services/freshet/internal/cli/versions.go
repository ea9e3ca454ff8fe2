package cli

import (
	"cmp"
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
		Long: `List the versions of a dataset, newest first.

id is the first 12 digits of the version id; publish --base takes them.

added, changed and removed count the records by which a version differs from the one before. delta is the file of just
these: what an instance pulls that serves the version before. snapshot is the file of all records; most versions have
none of their own (-) and are made from an older one and the deltas since, which chain counts: an instance that begins
with nothing pulls that snapshot and those deltas. What is written in the background after patches is shown from the
next version on. promise is how soon the version promises the next one (publish --expect-every).

A version whose record is damaged in the store is listed as damaged, in JSON as an object with the members dataset, version
and damaged. stderr says what is wrong, names the record's file or key, and says what to do; the exit code is ` + strconv.Itoa(int(exit.Failure)) + `.`,
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
	cmd.Flags().IntVar(&limit, "limit", 20, "how many versions to list at most")
	out.add(cmd)
	return cmd
}

// damagedText stands in the place of when a version was committed.
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

// verdictOn returns the error about the damaged versions; nil if there are none.
func verdictOn(damaged []publisher.DamagedVersion) error {
	var all []error
	for _, d := range damaged {
		all = append(all, errors.New(d.Damaged))
	}
	return exit.With(exit.Failure, errors.Join(all...))
}

// versionList returns the versions in one list, newest first: records, and those of which only the damage is known.
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

// versionRows returns the rows of the newest versions, which have no gap with those that are damaged, with times in the zone.
func versionRows(records []dataset.VersionRecord, damaged []publisher.DamagedVersion, zone *time.Location) [][]string {
	// By version. A snapshot that was written after its version is named by newer ones only.
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
			show.Count(r.State.Records),
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

// labelText returns labels as "a=1 b=2", by name.
func labelText(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, name+"="+labels[name])
	}
	return strings.Join(parts, " ")
}
