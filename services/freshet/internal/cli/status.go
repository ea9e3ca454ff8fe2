package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
)

// datasetStatus is a dataset as the publisher and the instances see it.
type datasetStatus struct {
	Dataset string `json:"dataset"`
	// Latest is the newest version that is committed; nil if there is none, or the publisher did not say.
	Latest *dataset.VersionRecord `json:"latest"`
	// Instances are those that subscribe to the dataset.
	Instances []instanceStatus `json:"instances"`
}

type instanceStatus struct {
	Instance string `json:"instance"`
	fleet.DatasetStatus
}

func newStatus(p Process) *cobra.Command {
	var (
		publisher, nats string
		out             output
	)
	cmd := &cobra.Command{
		Use:   "status [DATASET...]",
		Short: "Show which instance serves which version of which dataset",
		Long: `Show which instance serves which version of which dataset. Without arguments it shows all datasets.

First comes the newest committed version of each dataset, from the publisher: how many records it added, changed and
removed, and the size of the delta that holds just these (- if there is none) and of the snapshot that it goes back to.

Then comes what each instance says over NATS: which version it serves, in which state and since when, the memory that
the records take, and what its last refresh pulled over the network: a snapshot, deltas, or both. from is the relay, or
the instance's own cache folder, from which nothing is pulled.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if err := dataset.CheckName(name); err != nil {
					return exit.With(exit.Usage, err)
				}
			}
			c, err := client.New(publisher, "publisher", publisherURL.hint())
			if err != nil {
				return err
			}
			defer c.Close()
			conn, err := dialFleet(cmd.Context(), nats)
			if err != nil {
				return err
			}
			defer conn.Close()
			instances, unreadable := fleet.Survey(cmd.Context(), conn, fleet.SurveyOptions{})
			if unreadable != nil && !errors.Is(unreadable, fleet.ErrUnreadable) {
				return unreadable
			}
			latest, latestErr := c.Latest(cmd.Context())
			all := gather(instances, latest, args)
			if out == jsonOutput {
				err = writeJSON(p.Out, all)
			} else {
				err = printStatus(p, all, time.Now())
			}
			// Shown first: what the instances say is worth having when the publisher, or another instance, says nothing.
			return errors.Join(err, unreadable, latestErr)
		},
	}
	publisherURL.add(cmd, p, &publisher)
	natsURL.add(cmd, p, &nats)
	out.add(cmd)
	return cmd
}

// gather puts together what the instances said and the newest versions, by dataset; of all datasets if only is empty.
func gather(instances []fleet.Status, latest map[string]dataset.VersionRecord, only []string) []datasetStatus {
	byName := map[string]*datasetStatus{}
	add := func(name string) *datasetStatus {
		if byName[name] == nil {
			byName[name] = &datasetStatus{Dataset: name, Instances: []instanceStatus{}}
		}
		return byName[name]
	}
	for _, name := range only {
		add(name)
	}
	wanted := func(name string) bool { return len(only) == 0 || slices.Contains(only, name) }
	for name, rec := range latest {
		if wanted(name) {
			add(name).Latest = &rec
		}
	}
	for _, i := range instances {
		for _, d := range i.Datasets {
			if wanted(d.Dataset) {
				s := add(d.Dataset)
				s.Instances = append(s.Instances, instanceStatus{Instance: i.Instance, DatasetStatus: d})
			}
		}
	}
	all := make([]datasetStatus, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, *byName[name])
	}
	return all
}

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
}

var instanceColumns = []show.Column{
	{Title: "dataset"},
	{Title: "instance"},
	{Title: "serves", Align: show.Right},
	{Title: "state"},
	{Title: "since", Align: show.Right},
	{Title: "records", Align: show.Right},
	{Title: "memory", Align: show.Right},
	{Title: "pulled", Align: show.Right},
	{Title: "made from"},
	{Title: "from"},
	{Title: "trouble"},
}

func printStatus(p Process, all []datasetStatus, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(p.Out, "no dataset has a version, and no instance answers")
		return err
	}
	var newest, instances [][]string
	for _, s := range all {
		newest = append(newest, newestRow(s, now))
		if len(s.Instances) == 0 {
			instances = append(instances, []string{s.Dataset, "(none)"})
		}
		for _, i := range s.Instances {
			instances = append(instances, instanceRow(s.Dataset, i, now))
		}
	}
	if err := show.Table(p.Out, newestColumns, newest); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(p.Out); err != nil {
		return err
	}
	return show.Table(p.Out, instanceColumns, instances)
}

func newestRow(s datasetStatus, now time.Time) []string {
	if s.Latest == nil {
		return []string{s.Dataset, show.None}
	}
	rec := *s.Latest
	snapshot := show.Bytes(rec.Snapshot.Bytes)
	if n := show.Chain(rec); n > 0 {
		snapshot += " of version " + strconv.FormatUint(rec.Snapshot.Version, 10)
	}
	return []string{
		s.Dataset, strconv.FormatUint(rec.Version, 10), show.Ago(now, rec.Created), show.Count(rec.State.Records),
		show.Count(rec.Changes.Added), show.Count(rec.Changes.Changed), show.Count(rec.Changes.Removed), show.Delta(rec), snapshot,
	}
}

func instanceRow(name string, i instanceStatus, now time.Time) []string {
	serves, records, memory, pulled, made := show.None, "", "", "", ""
	if i.Version > 0 {
		serves = strconv.FormatUint(i.Version, 10)
		records, memory = show.Count(uint64(i.Records)), show.Bytes(i.Bytes)
		pulled, made = show.Bytes(i.LastPull.Bytes), show.MadeFrom(i.LastPull.Full, i.LastPull.Deltas)
	}
	var gaveUp string
	if i.LastPull.GaveUp != "" {
		gaveUp = "deltas given up for the snapshot: " + i.LastPull.GaveUp
	}
	return []string{
		name, i.Instance, serves, string(i.State), show.Ago(now, i.Since), records, memory,
		pulled, made, string(cmp.Or(i.From, show.None)), cmp.Or(i.Error, i.Warning, gaveUp),
	}
}
