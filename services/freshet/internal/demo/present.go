package demo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/freshet/internal/stack"
)

// shownKey is the key of the record that the demo looks up before and after the last release, which changes its value.
const shownKey = "webassembly.memory64"

// The timeouts allow for a busy machine; on an idle one both waits take milliseconds.
const (
	readyTimeout  = 30 * time.Second
	servedTimeout = 30 * time.Second
)

// presenter prints the demo. It is not safe for concurrent use.
type presenter struct {
	cfg     Config
	dir     string
	at      stack.Addresses
	reports *fleet.Reports
	out     io.Writer
	err     error // the first error of a write
}

func (p *presenter) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format, args...)
	}
}

func (p *presenter) row(cells ...string) {
	if p.err == nil {
		p.err = show.Row(p.out, columns, cells...)
	}
}

// columns are the columns of the table of versions, followed by one column for each instance.
var columns = func() []show.Column {
	all := []show.Column{
		{Title: "version", Align: show.Right},
		{Title: "release"},
		{Title: "records", Align: show.Right},
		{Title: "added", Align: show.Right},
		{Title: "changed", Align: show.Right},
		{Title: "removed", Align: show.Right},
		{Title: "delta", Align: show.Right, Width: 7},
		{Title: "pulled each", Align: show.Right},
	}
	for _, name := range instances {
		all = append(all, show.Column{Title: name, Align: show.Right})
	}
	return all
}()

// present publishes all releases and prints a row for each.
func (p *presenter) present(ctx context.Context, all []release) error {
	conn, err := nats.Connect(p.at.NATS, nats.Name("freshet demo"), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect to the demo's NATS: %w", err)
	}
	defer conn.Close()
	if p.reports, err = fleet.WatchReports(ctx, conn, p.cfg.Namespace, Dataset); err != nil {
		return err
	}
	defer p.reports.Close()
	if err := awaitInstances(ctx, conn, p.cfg.Namespace); err != nil {
		return err
	}
	p.printf(`freshet demo: which browser supports what, %d real releases of MDN's data (CC0-1.0), one after the other.

NATS, Redis, a publisher, a relay and %d instances run in this process and communicate over loopback. Each release is
published over HTTP with all its records. NATS notifies the instances; each pulls the changes from the relay and swaps them in.

  delta        the file of the added, changed and removed records; the first version has only a snapshot
  pulled each  bytes that each instance pulled; one number if all pulled the same, else one for each instance in order
  %s..     milliseconds from the publisher's commit until that instance served the version

`, len(all), len(instances), instances[0])
	if p.err == nil {
		p.err = show.Titles(p.out, columns)
	}
	var shown [2]client.Record // before and after the last release
	var first dataset.VersionRecord
	since := make([]int64, len(instances)) // bytes that each instance pulled after the first version
	for i, r := range all {
		rec, pulled, err := p.publish(ctx, r)
		if err != nil {
			return err
		}
		if i == 0 {
			first = rec
		} else {
			add(since, pulled)
		}
		if after := i - (len(all) - 2); after >= 0 {
			if shown[after], err = p.lookUp(ctx); err != nil {
				return err
			}
		}
	}
	p.printf("\nSince version 1, whose snapshot has %s, each instance pulled %s in total.\n", show.Bytes(first.Snapshot.Bytes), each(since))
	if err := p.compare(shown[0], shown[1]); err != nil {
		return err
	}
	return p.states(ctx, conn)
}

// states prints the states that the instances report.
func (p *presenter) states(ctx context.Context, conn *nats.Conn) error {
	all, err := fleet.Survey(ctx, conn, fleet.SurveyOptions{Namespace: p.cfg.Namespace})
	if err != nil {
		return err
	}
	var states []string
	for _, s := range all {
		if d, ok := s.Dataset(Dataset); ok {
			states = append(states, fmt.Sprintf("%s is %s on version %d", s.Instance, d.State, d.Version))
		}
	}
	p.printf("\nEach instance reports how fresh it is: %s.\n", strings.Join(states, ", "))
	return p.err
}

// awaitInstances waits until every instance answers. From then on the instances receive events, so that the printed times do not
// include their start.
func awaitInstances(ctx context.Context, conn *nats.Conn, namespace string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the instances did not answer within %s", readyTimeout))
	defer cancel()
	for {
		all, err := fleet.Survey(ctx, conn, fleet.SurveyOptions{Namespace: namespace, Stall: 100 * time.Millisecond})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && len(all) == len(instances):
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// publish publishes a release and prints its row when every instance serves it. pulled are the bytes that each instance pulled.
func (p *presenter) publish(ctx context.Context, r release) (rec dataset.VersionRecord, pulled []int64, err error) {
	body, err := r.open()
	if err != nil {
		return rec, nil, err
	}
	c, err := client.New(p.at.Publisher, "publisher", "it runs in this process")
	if err != nil {
		return rec, nil, err
	}
	defer c.Close()
	result, err := c.Publish(ctx, Dataset, client.PublishRequest{
		Body: body, Format: publish.FormatNDJSON, Key: []string{"key"},
		Source: "@mdn/browser-compat-data", Labels: map[string]string{"release": string(r)},
	})
	if err != nil {
		return rec, nil, fmt.Errorf("publish release %s: %w", r, err)
	}
	rec = result.Record
	served, err := p.served(ctx, rec)
	if err != nil {
		return rec, nil, err
	}
	var times []string
	for _, name := range instances {
		pulled = append(pulled, served[name].PulledBytes)
		times = append(times, show.Millis(served[name].Served.Sub(rec.Created)))
	}
	p.row(append([]string{
		strconv.FormatUint(rec.Version, 10), string(r), show.Count(rec.State.Records),
		show.Count(rec.Changes.Added), show.Count(rec.Changes.Changed), show.Count(rec.Changes.Removed), show.Delta(rec), each(pulled),
	}, times...)...)
	return rec, pulled, p.err
}

// served waits until every instance has reported that it serves the version.
func (p *presenter) served(ctx context.Context, rec dataset.VersionRecord) (map[string]fleet.Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, servedTimeout, fmt.Errorf("not every instance served version %s within %s", rec.ID(), servedTimeout))
	defer cancel()
	served := map[string]fleet.Report{}
	for len(served) < len(instances) {
		report, err := p.reports.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, err
		case report.Kind == fleet.OfFailure:
			return nil, fmt.Errorf("%s cannot load version %d: %s", report.Instance, report.Version, report.Error)
		case report.Kind == fleet.OfSwap && report.Version == rec.Version:
			served[report.Instance] = report
		}
	}
	return served, nil
}

// each formats the bytes that the instances pulled: one number if it is the same for all, else one for each instance.
func each(pulled []int64) string {
	if len(slices.Compact(slices.Clone(pulled))) == 1 {
		return show.Bytes(pulled[0])
	}
	all := make([]string, len(pulled))
	for i, n := range pulled {
		all[i] = show.Bytes(n)
	}
	return strings.Join(all, " / ")
}

func add(sums, more []int64) {
	for i, n := range more {
		sums[i] += n
	}
}

// lookUp gets the shown record from the first instance over HTTP.
func (p *presenter) lookUp(ctx context.Context) (client.Record, error) {
	c, err := client.New(p.at.Instances[0].URL, "server", "it runs in this process")
	if err != nil {
		return client.Record{}, err
	}
	defer c.Close()
	return c.Record(ctx, Dataset, shownKey, dataset.Token{})
}

// compare prints how the record's value changed.
func (p *presenter) compare(before, after client.Record) error {
	changed, err := differences(before.Value, after.Value)
	if err != nil {
		return fmt.Errorf("compare the values of %s: %w", shownKey, err)
	}
	if len(changed) == 0 {
		return fmt.Errorf("the value of %s is the same in versions %d and %d", shownKey, before.Version, after.Version)
	}
	p.printf("\nOne record, %s, looked up over HTTP in %s before and after the last release:\n\n", shownKey, p.at.Instances[0].Name)
	rows := make([][]string, len(changed))
	for i, d := range changed {
		rows[i] = []string{"  " + d.path, d.before, d.after}
	}
	title := func(r client.Record) show.Column {
		return show.Column{Title: fmt.Sprintf("version %d", r.Version)}
	}
	if p.err == nil {
		p.err = show.Table(p.out, []show.Column{{Title: "  what changed"}, title(before), title(after)}, rows)
	}
	return p.err
}
