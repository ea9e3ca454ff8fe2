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
		Long: `Show which instance serves which version of which dataset: the instances are asked over NATS, the newest
committed versions from the publisher. Without arguments it shows all datasets.`,
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

var statusColumns = []show.Column{
	{Title: "dataset"},
	{Title: "latest", Align: show.Right},
	{Title: "instance"},
	{Title: "serves", Align: show.Right},
	{Title: "state"},
	{Title: "since", Align: show.Right},
	{Title: "records", Align: show.Right},
	{Title: "memory", Align: show.Right},
	{Title: "from"},
	{Title: "trouble"},
}

func printStatus(p Process, all []datasetStatus, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(p.Out, "no dataset has a version, and no instance answers")
		return err
	}
	var rows [][]string
	for _, s := range all {
		latest := "-"
		if s.Latest != nil {
			latest = strconv.FormatUint(s.Latest.Version, 10)
		}
		if len(s.Instances) == 0 {
			rows = append(rows, []string{s.Dataset, latest, "(none)"})
		}
		for _, i := range s.Instances {
			serves, records, memory := "-", "", ""
			if i.Version > 0 {
				serves = strconv.FormatUint(i.Version, 10)
				records, memory = show.Count(uint64(i.Records)), show.Bytes(i.Bytes)
			}
			rows = append(rows, []string{
				s.Dataset, latest, i.Instance, serves, string(i.State), show.Ago(now, i.Since), records, memory,
				string(cmp.Or(i.From, "-")), cmp.Or(i.Error, i.Warning),
			})
		}
	}
	return show.Table(p.Out, statusColumns, rows)
}
