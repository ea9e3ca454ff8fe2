package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/overview"
	"freshet.dev/services/internal/settings"
)

// statusFlags are the flags of status.
type statusFlags struct {
	publisher, nats, redis string
	namespace              string
	out                    output
	watch                  bool
	interval               time.Duration
	wide                   bool
	labels                 []string
	selected               *fleet.Selection // by the labels; nil for all instances
	failIfStale            bool
	instances              int
	maxLag                 time.Duration

	unset []string // datasets whose retention is not set, as of the last look
}

func newStatus(p Process) *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status [DATASET...]",
		Short: "Show which instance serves which version of which dataset, and how fresh it is",
		Long: fmt.Sprintf(`Show which instance serves which version of which dataset, and how fresh it is. Without arguments it shows all datasets.

The first table shows the newest committed version of each dataset, from the publisher, with the number of records that
the version added, changed and removed.

The second table shows the instances, which answer over NATS:

  serves  the version that the instance serves
  state   the state of the dataset in the instance, since when, and the trouble on a line below the row
  behind  how long the instance has known of a newer version
  memory  the memory of the records

--wide shows more columns: the sizes of the delta (- if there is none) and of the snapshot, the ids, the age of the
version, the number of earlier versions that the instance keeps for rollbacks, what the last refresh pulled over the
network (a snapshot, deltas, both, or nothing for a kept table), and the labels of the instance. from is the relay, or the
instance's own cache folder, for which the instance pulls nothing. The states, the first that applies:

  pinned      the instance holds the served version until "freshet unpin"
  failing     the last refresh failed; the instance retries
  quarantined processes died of the newest version; the instance does not load it and serves the version before
  diverged    the served version is not in the store's history; the instance moves to the store's version
  blind       for three beacons, nothing has confirmed that the served version is the newest
  refreshing  a newer version is being loaded
  lagging     a newer version is known and is not being loaded
  overdue     the promised cadence has passed without a newer version
  deleted     the newest version deletes the dataset; the instance goes on answering from the table that it has
  waiting     the dataset has no version yet
  fresh       the newest version is served

With --redis, an instance that has a record in Redis and does not answer over NATS is shown as silent. If NATS cannot be
reached, the records are shown instead of the answers. If one source fails the others are shown, and the exit code is %d.

--fail-if-stale is a check for cron and CI. It writes each reason as one line to stderr and exits with %d if, for a
requested dataset,

  - an instance is failing, quarantined, diverged, blind, overdue or silent,
  - an instance has known of a newer version for longer than --max-lag and does not serve it,
  - an instance does not know of a newer version that was committed longer ago than --max-lag, or
  - a dataset that is named has no instance; or if there is no instance at all.

--instances N adds: or if fewer than N instances answer (of each dataset that is named). Without it, an instance that was
killed counts only while its record is in Redis, for 30 seconds. If the publisher, NATS or Redis cannot be queried the
freshness is unknown, and the exit code is %d.

--label chooses instances: the status shows, and --fail-if-stale checks, only the instances with the label, and the datasets
that they have. It may be repeated; then an instance needs all of the labels. FRESHET_LABELS sets the labels of an instance.

--watch repeats the status until Ctrl-C (exit code 0).`, exit.Failure, exit.Stale, exit.Failure),
		Example: `  freshet status --watch
  freshet status --label tier=canary --label zone=a
  freshet status prices --fail-if-stale --max-lag 30s --instances 3 || send-alert`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("instances") && f.instances < 1 {
				return exit.Errorf(exit.Usage, "--instances %d: want 1 or more", f.instances)
			}
			return f.run(cmd.Context(), p, args)
		},
		ValidArgsFunction: completeArgs(true, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) }),
	}
	f.add(cmd, p)
	return cmd
}

// add adds the flags to cmd.
func (f *statusFlags) add(cmd *cobra.Command, p Process) {
	flags := cmd.Flags()
	publisherURL.add(cmd, p, &f.publisher)
	natsURL.add(cmd, p, &f.nats)
	redisURL.add(cmd, p, &f.redis)
	namespace.add(cmd, p, &f.namespace)
	flags.BoolVarP(&f.watch, "watch", "w", false, "repeat the status until Ctrl-C")
	flags.DurationVar(&f.interval, "interval", 2*time.Second, "with --watch: pause between two looks")
	flags.BoolVar(&f.wide, "wide", false, "show all columns")
	addLabels(cmd, &f.labels, "only instances with this label, name=value; may be repeated")
	flags.BoolVar(&f.failIfStale, "fail-if-stale", false, fmt.Sprintf("exit with %d if anything is stale", exit.Stale))
	flags.DurationVar(&f.maxLag, "max-lag", 10*time.Second, "with --fail-if-stale: how long an instance may take to serve a new version")
	flags.IntVar(&f.instances, "instances", 0, "with --fail-if-stale: how many instances must answer, for each dataset that is named (default: any number)")
	f.out.add(cmd)
}

// check validates the names and flags.
func (f *statusFlags) check(names []string) error {
	for _, name := range names {
		if err := dataset.CheckName(name); err != nil {
			return exit.With(exit.Usage, err)
		}
	}
	if err := settings.CheckNamespace(f.namespace); err != nil {
		return exit.With(exit.Usage, err)
	}
	if err := settings.CheckURL("--nats", settings.URL(f.nats), natsSchemes...); err != nil {
		return exit.With(exit.Usage, err)
	}
	if f.redis != "" {
		if err := settings.CheckURL("--redis", settings.URL(f.redis), redisSchemes...); err != nil {
			return exit.With(exit.Usage, err)
		}
	}
	labels, err := parseLabels(f.labels)
	if err != nil {
		return err
	}
	if len(labels) > 0 {
		f.selected = &fleet.Selection{Labels: labels}
	}
	switch {
	case f.watch && f.failIfStale:
		return exit.Errorf(exit.Usage, "--fail-if-stale checks once and --watch repeats: leave one of them out")
	case f.instances > 0 && !f.failIfStale:
		return exit.Errorf(exit.Usage, "--instances requires --fail-if-stale")
	case f.wide && f.out == jsonOutput:
		return exit.Errorf(exit.Usage, "--wide is for text output: JSON has all fields")
	case f.interval < 100*time.Millisecond:
		return exit.Errorf(exit.Usage, "--interval %s: want 100ms or more", f.interval)
	case f.maxLag < 0:
		return exit.Errorf(exit.Usage, "--max-lag %s: want 0s or more", f.maxLag)
	}
	return nil
}

func (f *statusFlags) run(ctx context.Context, p Process, names []string) error {
	if err := f.check(names); err != nil {
		return err
	}
	c, err := client.New(f.publisher, "publisher", publisherURL.hint())
	if err != nil {
		return err
	}
	defer c.Close()
	sources := f.sources(c)
	if f.watch {
		return f.keepLooking(ctx, p, sources, names)
	}
	o := overview.Look(ctx, sources, names)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	o.Retention(f.unset)
	if f.out == jsonOutput {
		err = writeJSON(p.Out, o.Datasets)
	} else {
		err = printStatus(p.Out, o, f.wide)
	}
	if text := retentionText(o); text != "" && f.out == textOutput && err == nil {
		_, err = fmt.Fprintf(p.Out, "\n%s\n", text)
	}
	for _, text := range omissions(o) {
		fmt.Fprintf(p.Err, "freshet: warning: %s\n", text)
	}
	if f.failIfStale {
		return errors.Join(err, f.verdict(ctx, p, c, o))
	}
	// After the output: the instances are shown even if the publisher, or another instance, does not answer.
	err = errors.Join(err, o.Err())
	if err == nil && f.selected != nil && o.Known == 0 {
		return noneWithLabels(f.selected.Labels, f.namespace, o.Labels)
	}
	if unknown := o.Unknown(); err == nil && len(unknown) > 0 {
		return exit.Errorf(exit.NotFound, "there is no dataset %s: it has no version, and no %sinstance subscribes to it", strings.Join(unknown, ", "), f.chosen())
	}
	return err
}

// maxUnset is how many datasets without retention the status names.
const maxUnset = 10

// retentionText returns a line about the datasets of the status whose retention is not set; empty if there is none.
func retentionText(o overview.Overview) string {
	var names []string
	for _, d := range o.Datasets {
		if d.RetentionUnset {
			names = append(names, d.Dataset)
		}
	}
	if len(names) == 0 {
		return ""
	}
	list := strings.Join(names[:min(len(names), maxUnset)], ", ")
	if more := len(names) - maxUnset; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("retention is not set: %s; all versions keep their bytes (see freshet gc --dry-run)", list)
}

// chosen qualifies the instances of the status in a message.
func (f *statusFlags) chosen() string {
	if f.selected == nil {
		return ""
	}
	return "chosen "
}

// omissions returns a text for each instance that left datasets out of its answer.
func omissions(o overview.Overview) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(o.Omitted)) {
		all = append(all, fmt.Sprintf("the answer of %s is too large for %d more datasets, in no graver states than those shown", name, o.Omitted[name]))
	}
	return all
}

// verdict writes one line for each reason why a dataset is stale, and returns the error with the exit code.
func (f *statusFlags) verdict(ctx context.Context, p Process, c *client.Client, o overview.Overview) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reasons := append(o.TooFew(f.instances), o.Stale(asking, f.maxLag, c.Version)...)
	for _, r := range reasons {
		fmt.Fprintf(p.Err, "stale: %s\n", r)
	}
	if err := o.Unasked(); err != nil {
		return fmt.Errorf("the freshness is unknown: %w", err)
	}
	switch len(reasons) {
	case 0:
		return nil
	case 1:
		return exit.Errorf(exit.Stale, "stale, for 1 reason")
	}
	return exit.Errorf(exit.Stale, "stale, for %d reasons", len(reasons))
}
