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
	failIfStale            bool
	maxLag                 time.Duration
}

func newStatus(p Process) *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status [DATASET...]",
		Short: "Show which instance serves which version of which dataset, and how fresh it is",
		Long: fmt.Sprintf(`Show which instance serves which version of which dataset, and how fresh it is. Without arguments it shows all datasets.

First comes the newest committed version of each dataset, from the publisher: how many records it added, changed and
removed, and the size of the delta that holds just these (- if there is none) and of the snapshot that it goes back to.

Then comes what each instance says over NATS: which version it serves, in which state and since when, how old the
version is and how long a newer one has been known, the memory that the records take, and what its last refresh pulled
over the network: a snapshot, deltas, or both. from is the relay, or the instance's own cache folder, from which nothing
is pulled. The states, the first that applies:

  failing     the last attempt to refresh failed; it is tried again
  quarantined processes died of the newest version, which is not loaded any more; the version before is served
  diverged    what is served is not in the store's history; the instance moves to the store's version
  blind       nothing has said for three beacons whether there is a newer version
  refreshing  a newer version is being brought up
  lagging     a newer version is known, and not being brought up
  overdue     the promised cadence has passed without a newer version
  waiting     there is no version yet
  fresh       the newest version is served

With --redis, instances that have a record there and do not answer are shown as silent; when NATS cannot be reached,
their records alone are shown. What one part does not say keeps none of the others from being shown, but the exit
code is %d then.

--fail-if-stale is a check for cron and CI. It exits with %d if, for any dataset asked for, an instance is failing,
quarantined, diverged, blind, overdue or silent, has known of a newer version for longer than --max-lag and does not
serve it, or knows nothing of a newer version that was committed longer ago; if no instance has a dataset that is named;
and if there is no instance at all. Each reason is one line on stderr. If the publisher, NATS or the Redis cannot be asked the exit code is %d:
nobody knows.

--watch goes on until Ctrl-C, which ends it well (exit code 0).`, exit.Failure, exit.Stale, exit.Failure),
		Example: `  freshet status --watch
  freshet status prices --fail-if-stale --max-lag 30s || page-somebody`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), p, args) },
	}
	flags := cmd.Flags()
	publisherURL.add(cmd, p, &f.publisher)
	natsURL.add(cmd, p, &f.nats)
	redisURL.add(cmd, p, &f.redis)
	namespace.add(cmd, p, &f.namespace)
	flags.BoolVarP(&f.watch, "watch", "w", false, "show it again and again")
	flags.DurationVar(&f.interval, "interval", 2*time.Second, "with --watch: how long to pause in between")
	flags.BoolVar(&f.failIfStale, "fail-if-stale", false, fmt.Sprintf("exit with %d if anything is stale", exit.Stale))
	flags.DurationVar(&f.maxLag, "max-lag", 10*time.Second, "with --fail-if-stale: how long instances may take for a new version")
	f.out.add(cmd)
	return cmd
}

// check refuses what no look can be taken with.
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
		if err := settings.CheckURL("--redis", settings.URL(f.redis), "redis", "rediss", "unix"); err != nil {
			return exit.With(exit.Usage, err)
		}
	}
	switch {
	case f.watch && f.failIfStale:
		return exit.Errorf(exit.Usage, "--fail-if-stale looks once and --watch goes on: leave one of them out")
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
	if f.out == jsonOutput {
		err = writeJSON(p.Out, o.Datasets)
	} else {
		err = printStatus(p.Out, o)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Omitted)) {
		fmt.Fprintf(p.Err, "freshet: warning: %s has %d datasets more than fit into its answer, in no graver states than those shown\n", name, o.Omitted[name])
	}
	if f.failIfStale {
		return errors.Join(err, f.verdict(ctx, p, c, o))
	}
	// Shown first: what the instances say is worth having when the publisher, or another instance, says nothing.
	err = errors.Join(err, o.Err())
	if unknown := o.Unknown(); err == nil && len(unknown) > 0 {
		return exit.Errorf(exit.NotFound, "there is no dataset %s: it has no version, and no instance subscribes to it", strings.Join(unknown, ", "))
	}
	return err
}

// verdict names all that is stale, one line each, and returns the error that says so.
func (f *statusFlags) verdict(ctx context.Context, p Process, c *client.Client, o overview.Overview) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reasons := o.Stale(asking, f.maxLag, c.Version)
	for _, r := range reasons {
		fmt.Fprintf(p.Err, "stale: %s\n", r)
	}
	if err := o.Unasked(); err != nil {
		return fmt.Errorf("nobody knows whether all is fresh: %w", err)
	}
	switch len(reasons) {
	case 0:
		return nil
	case 1:
		return exit.Errorf(exit.Stale, "stale, for 1 reason")
	}
	return exit.Errorf(exit.Stale, "stale, for %d reasons", len(reasons))
}
