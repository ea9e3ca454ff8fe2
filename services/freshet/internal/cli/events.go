package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sourcegraph/conc/pool"
	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/replay"
	"freshet.dev/pkg/timeline"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/internal/settings"
)

// eventsFlags are the flags of events.
type eventsFlags struct {
	publisher, nats, namespace string
	since                      string
	from                       uint64
	follow                     bool
	out                        output
}

func newEvents(p Process) *cobra.Command {
	var f eventsFlags
	cmd := &cobra.Command{
		Use:   "events [DATASET]",
		Short: "Show what happened to a dataset, or to all: versions, rollbacks, deletes, pins, replays, settings",
		Example: `  freshet events prices --since 24h
  freshet events --since 0s --follow
  freshet events prices --from-version 40 --output json | jq .data.reason`,
		Long: fmt.Sprintf(`Show what happened to a dataset, or to all datasets, in the order of time: versions, rollbacks, deletes, pins and
unpins, replays, changes of settings, and removals of the bytes of old versions (gc); with who did it, as the caller
named itself, and why.

The events come from the records in the store, through the publisher, so they are complete also if the event log was
wiped. The times are those of the publishers' clocks. The events of a dataset are never out of order, whatever the
clocks say.

With --output json each event is a line: the CloudEvents message that announced it, with the type
%s for a version, a rollback (data.restores names the version whose
content it has) or a delete (data.deleted) and %s for an entry of the dataset's journal.

A record that is damaged in the store is an event too; stderr names its place and what to do, and the exit code is
then %d.

--follow goes on with new events, as NATS reports them, until Ctrl-C (exit code 0). None is lost or repeated between
the two. Without --since or --from-version it begins with the first event; --since 0s begins now.`,
			dataset.EventType, dataset.EntryEventType, exit.Failure),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("from-version") && f.from == 0 {
				return exit.Errorf(exit.Usage, "--from-version 0: versions begin at 1")
			}
			return f.run(cmd.Context(), p, strings.Join(args, ""))
		},
	}
	publisherURL.add(cmd, p, &f.publisher)
	natsURL.add(cmd, p, &f.nats)
	namespace.add(cmd, p, &f.namespace)
	flags := cmd.Flags()
	flags.StringVar(&f.since, "since", "", "show events since a time (2026-11-30T12:00:00Z), or since so long ago (2h)")
	flags.Uint64Var(&f.from, "from-version", 0, "show versions of DATASET from this one on, and what else happened since")
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with new events until Ctrl-C")
	f.out.add(cmd)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) })
	return cmd
}

// check validates the name and the flags.
func (f *eventsFlags) check(name string) error {
	if name != "" {
		if err := dataset.CheckName(name); err != nil {
			return exit.With(exit.Usage, err)
		}
	}
	if err := settings.CheckNamespace(f.namespace); err != nil {
		return exit.With(exit.Usage, err)
	}
	if f.since != "" {
		ago, err := time.ParseDuration(f.since)
		if _, timeErr := time.Parse(time.RFC3339, f.since); timeErr != nil && (err != nil || ago < 0) {
			return exit.Errorf(exit.Usage, "--since %q: want how long ago, such as 2h, or a time, such as 2026-11-30T12:00:00Z", f.since)
		}
	}
	switch {
	case f.from > 0 && name == "":
		return exit.Errorf(exit.Usage, "--from-version requires a dataset: name one")
	case f.from > 0 && f.since != "":
		return exit.Errorf(exit.Usage, "--since and --from-version exclude each other: leave one of them out")
	}
	return nil
}

func (f *eventsFlags) run(ctx context.Context, p Process, name string) error {
	if err := f.check(name); err != nil {
		return err
	}
	c, err := client.New(f.publisher, "publisher", publisherURL.hint())
	if err != nil {
		return err
	}
	defer c.Close()
	out := &eventPrinter{out: p.Out, json: f.out == jsonOutput}
	read := func(ctx context.Context, q timeline.Query, yield func(timeline.Event) error) (timeline.Positions, error) {
		return c.Events(ctx, q, f.since, yield)
	}
	q := timeline.Query{Dataset: name, FromVersion: f.from}
	if f.follow {
		err = f.keepReading(ctx, p, q, read, out.print)
	} else {
		_, err = read(ctx, q, out.print)
	}
	return errors.Join(err, out.verdict())
}

// keepReading prints the events and follows, until ctx ends.
func (f *eventsFlags) keepReading(ctx context.Context, p Process, q timeline.Query, read timeline.ReadFunc, print func(timeline.Event) error) error {
	conn, err := dialFleet(ctx, f.nats)
	if err != nil {
		return err
	}
	defer conn.Close()
	watcher, err := events.NewWatcher(conn, f.namespace, q.Dataset)
	if err != nil {
		return err
	}
	both := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	both.Go(watcher.Run)
	both.Go(func(ctx context.Context) error {
		return timeline.Follow(ctx, q, read, watcher.Changes(), print, func(err error) {
			fmt.Fprintf(p.Err, "freshet: warning: %v; trying again\n", err)
		})
	})
	err = both.Wait()
	if ctx.Err() != nil {
		return nil // Ctrl-C is how it ends; a connection that it closed is no error
	}
	return err
}

var eventColumns = []show.Column{
	{Title: "time", Width: len(time.DateTime)},
	{Title: "dataset", Width: 16},
	{Title: "event", Width: 8},
	{Title: "number", Align: show.Right},
	{Title: "by", Width: 16},
	{Title: "what", Width: 44},
	{Title: "reason"},
}

// eventPrinter prints events one by one, as a table or as lines of JSON.
type eventPrinter struct {
	out     io.Writer
	json    bool
	begun   bool
	damaged []error
}

func (o *eventPrinter) print(e timeline.Event) error {
	if e.Damaged != nil {
		o.damaged = append(o.damaged, errors.New(e.Damaged.Detail))
	}
	if o.json {
		line, err := e.Line()
		if err != nil {
			return err
		}
		_, err = o.out.Write(append(line, '\n'))
		return err
	}
	if !o.begun {
		o.begun = true
		if err := show.Titles(o.out, eventColumns); err != nil {
			return err
		}
	}
	return show.Row(o.out, eventColumns, eventRow(e, time.Local)...)
}

// verdict returns an error that describes the damaged records; nil if there are none.
func (o *eventPrinter) verdict() error { return exit.With(exit.Failure, errors.Join(o.damaged...)) }

// eventRow returns the cells of an event, with its time in the zone.
func eventRow(e timeline.Event, zone *time.Location) []string {
	at := show.None
	if !e.Time.IsZero() {
		at = e.Time.In(zone).Format(time.DateTime)
	}
	cells := []string{at, e.Dataset, cmp.Or(e.Kind(), "unknown")}
	switch {
	case e.Version != nil:
		rec := e.Version
		what := fmt.Sprintf("%s (%s added, %s changed, %s removed)", show.Records(rec.State.Records), show.Count(rec.Changes.Added),
			show.Count(rec.Changes.Changed), show.Count(rec.Changes.Removed))
		if rec.Deleted {
			what = deletedEvent(*rec)
		}
		if rec.Restores.Version > 0 {
			what = fmt.Sprintf("the content of version %s, %s", rec.Restores, show.Records(rec.State.Records))
		}
		return append(cells, strconv.FormatUint(rec.Version, 10), cmp.Or(rec.By, rec.Source, show.None), what, rec.Reason)
	case e.Entry != nil:
		return append(cells, strconv.FormatUint(e.Entry.Number, 10), cmp.Or(e.Entry.By, show.None), entryText(*e.Entry), e.Entry.Reason)
	case e.Damaged != nil:
		number, what := e.Damaged.Version, "the version record is damaged in the store"
		if e.Damaged.Entry > 0 {
			number, what = e.Damaged.Entry, "the journal entry is damaged in the store"
		}
		return append(cells, strconv.FormatUint(number, 10), "", what)
	}
	return append(cells, "", "", "an event of a later release; --output json shows it")
}

// entryText returns what a journal entry changed.
func entryText(e dataset.Entry) string {
	if pins, err := e.PinChange(); err == nil {
		return pinText(pins)
	}
	if e.Kind == replay.EntryKind {
		return replayText(e)
	}
	if removal, err := e.Removal(); err == nil {
		return fmt.Sprintf("the bytes of versions %s are gone (%s freed)", removal.Versions, show.Bytes(removal.Bytes))
	}
	change, err := e.SettingsChange()
	if err != nil {
		return string(e.Content) // of a later release
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(change.Changes)) {
		if value := string(change.Changes[name]); value == "null" {
			parts = append(parts, name+" unset")
		} else {
			parts = append(parts, name+"="+shortValue(value))
		}
	}
	return strings.Join(parts, ", ")
}
