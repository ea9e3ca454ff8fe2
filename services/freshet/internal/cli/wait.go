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
	conn      *nats.Conn
	namespace string
	timeout   time.Duration
	// record returns the record of a version in the publisher's store.
	record func(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error)
}

// openWait connects to the instances of the namespace.
func openWait(ctx context.Context, address, namespace string, timeout time.Duration) (*wait, error) {
	conn, err := dialFleet(ctx, address)
	if err != nil {
		return nil, err
	}
	return &wait{conn: conn, namespace: namespace, timeout: timeout}, nil
}

// Close closes the connection.
func (w *wait) Close() { w.conn.Close() }

// run waits, with a line as each instance gets there if lines are wanted.
func (w *wait) run(ctx context.Context, report *publication, lines bool, p Process) error {
	rec := report.Record
	waiting, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	every, unreadable := "every live instance", 0
	wanted := fleet.Wait{
		Namespace: w.namespace, Dataset: rec.Dataset, Version: rec.Ref(), Store: rec.StoreID, Created: rec.Created,
		Newer: func(r fleet.Report) bool { return w.committed(waiting, r) },
	}
	wanted.OnLine = func(r fleet.Report) {
		if r.Instance == "" && r.Error != "" {
			fmt.Fprintf(p.Err, "freshet: warning: cannot wait for an instance: %s\n", r.Error)
			every = "every live instance whose status is readable"
			unreadable++
			return
		}
		if r.Error != "" { // it tries again, and may still get there
			fmt.Fprintf(p.Err, "freshet: warning: %s does not serve version %d yet: %s\n", r.Instance, r.Version, r.Error)
			return
		}
		report.Served = append(report.Served, r)
		if lines {
			printServed(p.Out, r, report.Created)
		}
	}
	err := fleet.WaitServed(waiting, w.conn, wanted)
	switch {
	case err != nil && ctx.Err() == nil && waiting.Err() != nil:
		return exit.Errorf(exit.TimedOut, "version %d is published, but after %s: %w", rec.Version, w.timeout, err)
	case err != nil:
	case len(report.Served) == 0 && unreadable > 0:
		return exit.Errorf(exit.TimedOut, "version %d is published, but no instance is known to serve it: the status of %d live instances cannot be read; look at their logs",
			rec.Version, unreadable)
	case len(report.Served) == 0:
		where := ""
		if w.namespace != "" {
			where = " in namespace " + w.namespace
		}
		return exit.Errorf(exit.Nobody, "version %d is published, but no live instance%s has the dataset %s; add it to FRESHET_DATASETS of the instances that are to serve it",
			rec.Version, where, rec.Dataset)
	case lines:
		fmt.Fprintf(p.Out, "%s (%d) serves version %d\n", every, len(report.Served), rec.Version)
	}
	return err
}

// committed reports whether the version of r is in the publisher's store. An instance of a release that reports no ids serves
// a version of the store if the store has one of that number and, where the instance reports it, of that commit time.
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

// printServed writes the line of one instance. What it took is of interest only for a version that is new.
func printServed(w io.Writer, r fleet.Report, isNew bool) {
	line := fmt.Sprintf("  %s serves version %d", r.Instance, r.Version)
	if isNew && !r.Served.IsZero() && !r.Created.IsZero() {
		line += fmt.Sprintf(", %s ms after it was committed, %s pulled (%s)",
			show.Millis(r.Served.Sub(r.Created)), show.Bytes(r.PulledBytes), show.MadeFrom(r.Full, r.Deltas))
	}
	fmt.Fprintln(w, line)
}
