package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/overview"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/internal/settings"
)

// recordsInterval is how long a wait pauses before it reads the instances' records in Redis again.
const recordsInterval = time.Second

// wait is a --wait: it ends when every live instance serves a version.
type wait struct {
	conn      *nats.Conn
	namespace string
	timeout   time.Duration
	// record returns the record of a version in the publisher's store.
	record func(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error)
	// records returns the instances' records in Redis; nil without Redis.
	records func(ctx context.Context) ([]overview.Record, error)
}

// waitFlags are the flags of a command with --wait.
type waitFlags struct {
	nats, redis string
	namespace   string
	on          bool
	timeout     time.Duration
}

func (f *waitFlags) add(cmd *cobra.Command, p Process) {
	natsURL.add(cmd, p, &f.nats)
	redisURL.add(cmd, p, &f.redis)
	namespace.add(cmd, p, &f.namespace)
	cmd.Flags().BoolVar(&f.on, "wait", false, "wait until every live instance that has the dataset serves the version")
	cmd.Flags().DurationVar(&f.timeout, "wait-timeout", time.Minute, "timeout of --wait")
}

// check returns an error if the flags are wrong.
func (f *waitFlags) check(dryRun bool) error {
	switch {
	case f.on && f.timeout <= 0:
		return exit.Errorf(exit.Usage, "--wait-timeout %s: want more than 0", f.timeout)
	case f.on && dryRun:
		return exit.Errorf(exit.Usage, "--dry-run makes no version to wait for; leave out --wait")
	}
	return nil
}

// open connects to the instances of the namespace. It returns nil without --wait. The caller opens a wait before it publishes, so that a
// wait that is not possible fails first.
func (f *waitFlags) open(ctx context.Context, c *client.Client) (*wait, error) {
	if !f.on {
		return nil, nil
	}
	w := &wait{namespace: f.namespace, timeout: f.timeout, record: c.Version}
	if f.redis != "" {
		if err := settings.CheckURL("--redis", settings.URL(f.redis), redisSchemes...); err != nil {
			return nil, exit.With(exit.Usage, err)
		}
		w.records = func(ctx context.Context) ([]overview.Record, error) { return records(ctx, f.redis, f.namespace) }
	}
	conn, err := dialFleet(ctx, f.nats)
	if err != nil {
		return nil, err
	}
	w.conn = conn
	return w, nil
}

// Close closes the connection. A nil wait has none.
func (w *wait) Close() {
	if w != nil {
		w.conn.Close()
	}
}

// waiting is the state of a wait.
type waiting struct {
	wait   *wait
	report *publication
	lines  bool // whether to print a line for each instance that serves the version
	p      Process

	unreadable int             // instances whose status is not readable, in the last round
	warned     map[string]bool // instances that do not answer and of which the wait has warned
	pinned     map[string]bool // instances that are pinned to another version, for which the wait does not wait
	noRecords  bool            // whether Redis could not be read
}

// run waits. If lines is true it prints a line when an instance serves the version.
func (w *wait) run(ctx context.Context, report *publication, lines bool, p Process) error {
	until, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	s := &waiting{wait: w, report: report, lines: lines, p: p, warned: map[string]bool{}, pinned: map[string]bool{}}
	err := s.all(until)
	rec := report.Record
	switch {
	case err != nil && ctx.Err() == nil && until.Err() != nil:
		return exit.Errorf(exit.TimedOut, "version %d is published, but after %s: %w", rec.Version, w.timeout, err)
	case err != nil:
	case len(report.Served) == 0 && s.unreadable > 0:
		return exit.Errorf(exit.TimedOut, "version %d is published, but no instance is known to serve it: the status of %d live instances cannot be read; see their logs",
			rec.Version, s.unreadable)
	case len(report.Served) == 0 && len(s.pinned) > 0:
		return exit.Errorf(exit.NoInstance, "version %d is published, but no live instance serves it: all that have the dataset %s are pinned to another version (%s); "+
			"`freshet pins %[2]s` shows the pins, freshet unpin %[2]s --all --reason TEXT removes them", rec.Version, rec.Dataset, some(slices.Sorted(maps.Keys(s.pinned))))
	case len(report.Served) == 0:
		where := ""
		if w.namespace != "" {
			where = " in namespace " + w.namespace
		}
		return exit.Errorf(exit.NoInstance, "version %d is published, but no live instance%s has the dataset %s; add it to FRESHET_DATASETS of the instances that should serve it",
			rec.Version, where, rec.Dataset)
	case lines:
		fmt.Fprintf(p.Out, "%s (%d) serves version %d\n", s.every(), len(report.Served), rec.Version)
	}
	return err
}

// every returns the name for the instances that serve the version at the end of the wait.
func (s *waiting) every() string {
	switch {
	case s.unreadable > 0:
		return "every live instance whose status is readable"
	case s.noRecords:
		return "every live instance that answers"
	}
	return "every live instance"
}

// all waits until every instance serves the version: those that answer over NATS, and those with a record in Redis. If ctx ends during a
// round, the error is what the round before found.
func (s *waiting) all(ctx context.Context) error {
	var silent []string
	ended := func(err error) error {
		if len(silent) == 0 || ctx.Err() == nil {
			return err
		}
		return fmt.Errorf("instances with a record in Redis do not answer over NATS: %s: %w", strings.Join(silent, ", "), context.Cause(ctx))
	}
	for {
		if err := s.answering(ctx); err != nil {
			return ended(err)
		}
		now, err := s.silent(ctx)
		if err != nil {
			return ended(err)
		}
		if len(now) == 0 {
			return nil
		}
		silent = now
		select {
		case <-time.After(recordsInterval):
		case <-ctx.Done():
			return ended(context.Cause(ctx))
		}
	}
}

// answering waits until every instance that answers over NATS serves the version.
func (s *waiting) answering(ctx context.Context) error {
	rec := s.report.Record
	s.unreadable = 0
	return fleet.WaitServed(ctx, s.wait.conn, fleet.Wait{
		Namespace: s.wait.namespace, Dataset: rec.Dataset, Version: rec.Ref(), Store: rec.StoreID, Created: rec.Created,
		Newer:    func(r fleet.Report) bool { return s.wait.committed(ctx, r) },
		OnReport: s.line,
	})
}

// line handles one report of [fleet.WaitServed].
func (s *waiting) line(r fleet.Report) {
	if r.Instance == "" && r.Error != "" {
		fmt.Fprintf(s.p.Err, "freshet: warning: cannot wait for an instance: %s\n", r.Error)
		s.unreadable++
		return
	}
	if r.State == fleet.Pinned {
		s.pinned[r.Instance] = true
	}
	if r.Error != "" { // the instance retries, and may still serve the version
		fmt.Fprintf(s.p.Err, "freshet: warning: %s does not serve version %d yet: %s\n", r.Instance, r.Version, r.Error)
		return
	}
	s.serves(r)
}

// serves records that an instance serves the version, once for each process. A restarted process replaces the one before.
func (s *waiting) serves(r fleet.Report) {
	if slices.ContainsFunc(s.report.Served, func(o fleet.Report) bool { return processOf(o) == processOf(r) }) {
		return
	}
	s.report.Served = slices.DeleteFunc(s.report.Served, func(o fleet.Report) bool {
		o.Run = r.Run
		return processOf(o) == processOf(r)
	})
	s.report.Served = append(s.report.Served, r)
	if s.lines {
		printServed(s.p.Out, r, s.report.Created)
	}
}

// processID identifies the process of an instance. In a container, the process after a restart may have the same name, host and pid.
type processID struct {
	name, host string
	pid        int
	run        string
}

func processOf(r fleet.Report) processID { return processID{r.Instance, r.Host, r.PID, r.Run} }

// silent returns the instances that have a record in Redis, do not answer over NATS, and do not serve the version by their record. It
// warns once of each.
func (s *waiting) silent(ctx context.Context) ([]string, error) {
	if s.wait.records == nil {
		return nil, nil
	}
	all, err := s.wait.records(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		s.noRecords = true // the version is published: the publish must not fail because Redis is down
		fmt.Fprintf(s.p.Err, "freshet: warning: %v; waiting only for instances that answer over NATS\n", err)
		return nil, nil
	}
	all = slices.DeleteFunc(all, func(r overview.Record) bool { return !s.lacks(ctx, r) })
	if len(all) == 0 {
		return nil, nil
	}
	answers, err := fleet.Survey(ctx, s.wait.conn, fleet.SurveyOptions{Namespace: s.wait.namespace, Dataset: s.report.Record.Dataset})
	if err != nil && !overview.Surveyed(err) {
		return nil, err
	}
	var names []string
	for _, r := range overview.Missing(answers, all) {
		names = append(names, r.Instance)
		if !s.warned[r.Instance] {
			s.warned[r.Instance] = true
			fmt.Fprintf(s.p.Err, "freshet: warning: %s has a record in Redis and does not answer over NATS; waiting for it\n", r.Instance)
		}
	}
	slices.Sort(names)
	return names, nil
}

// lacks reports whether the instance of r has the dataset and is not known to serve the version. A record that names the version proves
// that the instance serves it.
func (s *waiting) lacks(ctx context.Context, r overview.Record) bool {
	rec := s.report.Record
	d, ok := r.Dataset(rec.Dataset)
	if !ok || d.PinnedBelow(rec.Ref()) {
		return false
	}
	report := fleet.Report{
		Instance: r.Instance, Host: r.Host, PID: r.PID, Run: r.Run, Dataset: rec.Dataset, Version: d.Version, ID: d.ID, Created: d.Created, Served: d.Served,
		PulledBytes: d.LastPull.Bytes, Full: d.LastPull.Full, Deltas: d.LastPull.Deltas,
	}
	if d.State != fleet.Diverged && d.Version >= rec.Version && s.wait.committed(ctx, report) {
		s.serves(report)
	}
	return !slices.ContainsFunc(s.report.Served, func(o fleet.Report) bool { return processOf(o) == processOf(report) })
}

// committed reports whether the version of r is in the publisher's store. An instance of a release that reports no ids serves
// a version of the store if the store has a version with that number and, where the instance reports it, with that commit time.
func (w *wait) committed(ctx context.Context, r fleet.Report) bool {
	rec, err := w.record(ctx, r.Dataset, r.Version)
	switch {
	case err != nil:
		return false
	case !r.ID.IsZero():
		return rec.VersionID() == r.ID
	}
	return r.Created.IsZero() || r.Created.Equal(rec.Created)
}

// printServed writes the line of one instance. isNew adds what the version cost, which is of interest for a new version only.
func printServed(w io.Writer, r fleet.Report, isNew bool) {
	line := fmt.Sprintf("  %s serves version %d", r.Instance, r.Version)
	if isNew && !r.Served.IsZero() && !r.Created.IsZero() {
		line += fmt.Sprintf(", %s ms after it was committed, %s pulled (%s)",
			show.Millis(r.Served.Sub(r.Created)), show.Bytes(r.PulledBytes), show.MadeFrom(r.Full, r.Deltas))
	}
	fmt.Fprintln(w, line)
}
