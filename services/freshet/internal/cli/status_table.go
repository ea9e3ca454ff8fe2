package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/overview"
	"freshet.dev/services/freshet/internal/show"
)

var newestColumns = []show.Column{
	{Title: "dataset"},
	{Title: "newest", Align: show.Right},
	{Title: "age", Align: show.Right},
	{Title: "records", Align: show.Right},
	{Title: "added", Align: show.Right},
	{Title: "changed", Align: show.Right},
	{Title: "removed", Align: show.Right},
	{Title: "delta", Align: show.Right},
	{Title: "snapshot", Align: show.Right},
	{Title: "id"},
}

var instanceColumns = []show.Column{
	{Title: "dataset"},
	{Title: "instance"},
	{Title: "serves", Align: show.Right},
	{Title: "state"},
	{Title: "since", Align: show.Right},
	{Title: "age", Align: show.Right},
	{Title: "behind", Align: show.Right},
	{Title: "records", Align: show.Right},
	{Title: "memory", Align: show.Right},
	{Title: "kept", Align: show.Right},
	{Title: "pulled", Align: show.Right},
	{Title: "made from"},
	{Title: "from"},
	{Title: "id"},
	{Title: "labels"},
	{Title: "trouble"},
}

// The titles of the columns that are shown without --wide. They fit into 80 characters with names of up to 14 characters.
var (
	narrowNewest    = []string{"dataset", "newest", "age", "records", "added", "changed", "removed"}
	narrowInstances = []string{"dataset", "instance", "serves", "state", "since", "behind", "memory"}
)

// printStatus writes the two tables. It writes nothing if there is nothing to show because of an error.
func printStatus(w io.Writer, o overview.Overview, wide bool) error {
	if len(o.Datasets) == 0 {
		if o.Err() != nil {
			return nil
		}
		none := "no dataset has a version, and no instance answers"
		if o.Select != nil {
			none = "none of the " + o.Select.String() + " answers"
		}
		_, err := fmt.Fprintln(w, none)
		return err
	}
	var newest, instances [][]string
	for _, d := range o.Datasets {
		newest = append(newest, newestRow(d, o.At))
		if len(d.Instances) == 0 {
			none := "(none)"
			if len(d.MaybeOn) > 0 {
				none = "(not in the answers)"
			}
			instances = append(instances, []string{d.Dataset, none})
		}
		for _, i := range d.Instances {
			instances = append(instances, instanceRow(d.Dataset, i, o.At))
		}
	}
	if wide {
		return errors.Join(show.Table(w, newestColumns, newest), endLine(w), show.Table(w, instanceColumns, instances))
	}
	troubles := make([]string, len(instances))
	for i, row := range instances {
		if len(row) == len(instanceColumns) {
			troubles[i] = row[len(row)-1]
		}
	}
	columns, newest := selectColumns(newestColumns, newest, narrowNewest)
	if err := errors.Join(show.Table(w, columns, newest), endLine(w)); err != nil {
		return err
	}
	columns, instances = selectColumns(instanceColumns, instances, narrowInstances)
	return show.TableWithNotes(w, columns, instances, troubles)
}

func endLine(w io.Writer) error {
	_, err := fmt.Fprintln(w)
	return err
}

// selectColumns returns the columns with the titles, and the rows with the cells of these columns.
func selectColumns(columns []show.Column, rows [][]string, titles []string) (selected []show.Column, cells [][]string) {
	cells = make([][]string, len(rows))
	for i, c := range columns {
		if !slices.Contains(titles, c.Title) {
			continue
		}
		selected = append(selected, c)
		for r, row := range rows {
			if i < len(row) {
				cells[r] = append(cells[r], row[i])
			}
		}
	}
	return selected, cells
}

func newestRow(d overview.Dataset, now time.Time) []string {
	if d.Latest == nil {
		return []string{d.Dataset, show.None}
	}
	rec := *d.Latest
	snapshot := show.Bytes(rec.Snapshot.Bytes)
	if n := show.Chain(rec); n > 0 {
		snapshot += " of version " + strconv.FormatUint(rec.Snapshot.Version, 10)
	}
	return []string{
		d.Dataset, strconv.FormatUint(rec.Version, 10), show.Ago(now, rec.Created), show.RecordCount(rec),
		show.Count(rec.Changes.Added), show.Count(rec.Changes.Changed), show.Count(rec.Changes.Removed), show.Delta(rec), snapshot,
		rec.VersionID().Short(),
	}
}

func instanceRow(name string, i overview.Instance, now time.Time) []string {
	serves, age, records, memory, kept, pulled, made := show.None, "", "", "", "", "", ""
	if i.Version > 0 {
		serves, age = strconv.FormatUint(i.Version, 10), show.Ago(now, i.Created)
		records, memory = show.Count(uint64(i.Records)), show.Bytes(i.Bytes)
		kept = strconv.Itoa(i.KeptVersions)
		pulled, made = show.Bytes(i.LastPull.Bytes), show.MadeFrom(i.LastPull.Full, i.LastPull.Deltas)
	}
	state, since := string(i.State), show.Ago(now, i.Since)
	if i.Silent {
		state, since = "silent", show.Seconds(*i.RecordAge)
	}
	return []string{
		name, i.Instance, serves, state, since, age, show.Ago(now, i.BehindSince), records, memory, kept,
		pulled, made, string(cmp.Or(i.From, show.None)), i.ID.Short(), fleet.FormatLabels(i.Labels), trouble(i, now),
	}
}

// trouble returns the most urgent trouble of the dataset in the instance; empty if there is none.
func trouble(i overview.Instance, now time.Time) string {
	var silent, record, full string
	switch {
	case i.Silent:
		silent = fmt.Sprintf("does not answer; was %s when it wrote its record", i.State)
	case i.RecordAge != nil:
		record = fmt.Sprintf("from its record, %s old", show.Seconds(*i.RecordAge))
	}
	if i.LastPull.Fallback != "" {
		full = "pulled the snapshot instead of deltas: " + i.LastPull.Fallback
	}
	return cmp.Or(silent, i.Error, overview.Explain(i, now), i.Warning, i.StoreWarning, record, full)
}
