package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
)

// wait is what --wait does: it waits until every live instance serves a version.
type wait struct {
	conn    *nats.Conn
	reports *fleet.Reports
	timeout time.Duration
}

// openWait connects to the instances. It is called before the version is published, so that no report is missed.
func openWait(ctx context.Context, address, name string, timeout time.Duration) (*wait, error) {
	conn, err := dialFleet(ctx, address)
	if err != nil {
		return nil, err
	}
	reports, err := fleet.WatchReports(ctx, conn, name)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &wait{conn, reports, timeout}, nil
}

// Close closes the connection.
func (w *wait) Close() {
	w.reports.Close()
	w.conn.Close()
}

// run waits, with a line as each instance gets there if lines are wanted.
func (w *wait) run(ctx context.Context, report *publication, lines bool, p Process) error {
	rec := report.Record
	waiting, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	reported := map[instance]fleet.Report{}
	every := "every live instance"
	err := fleet.WaitServed(waiting, w.conn, rec.Dataset, rec.Version, func(r fleet.Report) {
		if r.Instance == "" && r.Error != "" {
			fmt.Fprintf(p.Err, "freshet: warning: cannot wait for an instance: %s\n", r.Error)
			every += " whose status is readable"
			return
		}
		if r.Error != "" { // it tries again, and may still get there
			fmt.Fprintf(p.Err, "freshet: warning: %s does not serve version %d yet: %s\n", r.Instance, r.Version, r.Error)
			return
		}
		if report.Created {
			r = w.withTimes(waiting, r, rec, reported)
		}
		report.Served = append(report.Served, r)
		if lines {
			printServed(p.Out, r)
		}
	})
	switch {
	case err != nil && ctx.Err() == nil && waiting.Err() != nil:
		return exit.Errorf(exit.TimedOut, "version %d is published, but after %s: %w", rec.Version, w.timeout, err)
	case err != nil || !lines:
	case len(report.Served) == 0:
		fmt.Fprintf(p.Out, "no live instance has the dataset %s: nobody to wait for\n", rec.Dataset)
	default:
		fmt.Fprintf(p.Out, "%s (%d) serves version %d\n", every, len(report.Served), rec.Version)
	}
	return err
}

// instance tells the processes of a report apart, of which two may have one name.
type instance struct {
	name, host string
	pid        int
}

func sender(r fleet.Report) instance { return instance{r.Instance, r.Host, r.PID} }

// reportTimeout is how long the report of an instance that serves the version already may be under way.
const reportTimeout = time.Second

// withTimes returns the instance's own report of the version in place of r, which may stem from its status and then
// has no times. Reports may be lost; then it returns r. It keeps those of other instances in reported.
func (w *wait) withTimes(ctx context.Context, r fleet.Report, rec dataset.VersionRecord, reported map[instance]fleet.Report) fleet.Report {
	if !r.Created.IsZero() || r.Version != rec.Version {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	for reported[sender(r)].Version != r.Version {
		next, err := w.reports.Next(ctx)
		if err != nil {
			return r
		}
		if next.Kind == fleet.OfSwap && next.Version == rec.Version {
			reported[sender(next)] = next
		}
	}
	return reported[sender(r)]
}

// printServed writes the line of one instance.
func printServed(w io.Writer, r fleet.Report) {
	line := fmt.Sprintf("  %s serves version %d", r.Instance, r.Version)
	if !r.Served.IsZero() && !r.Created.IsZero() {
		line += fmt.Sprintf(", %s ms after it was committed, %s pulled (%s)",
			show.Millis(r.Served.Sub(r.Created)), show.Bytes(r.PulledBytes), show.MadeFrom(r.Full, r.Deltas))
	}
	fmt.Fprintln(w, line)
}
