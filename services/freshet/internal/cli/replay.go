package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/replay"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/publisher"
)

// replayFlags are the flags of replay.
type replayFlags struct {
	publisher string
	choose    selectionFlags
	version   string
	from, to  uint64
	since     string
	full      bool
	subject   string
	rate      float64
	wait      time.Duration
	requestID string
	audit     auditFlags
	out       output
}

func newReplay(p Process) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay DATASET",
		Short: "Make instances take their version in again, or hand past events to a NATS subject",
		Long: `Make chosen instances take the version that they serve in again, as if it were new: callbacks of the service run again
and views are rebuilt. With --full an instance pulls the snapshot and replaces its table; lookups go on, and a pull that
fails leaves the old table. An instance keeps the version that it serves: --version N replays only those that serve N.
With --from-version N callbacks get the changes since version N in place of all records; the instances pull the snapshot
for that. Each instance has a line, from its own report.

With --to-subject the events of past versions go, in order, to a NATS subject of your own, for a new consumer that builds
its state from history: all versions, or those of --version, --from-version, --to-version or --since. Subscribe before.
The events come from the store, each with the header ` + events.ReplayHeader + `. Subjects of freshet are refused.

A replay is an entry of the dataset's journal: "freshet events" shows it. It may be repeated. With the same --request-id
an instance that did it reports the same result, and one that failed tries again.

The exit code is ` + strconv.Itoa(int(exit.TimedOut)) + ` if an instance did not replay, or not within --wait-timeout, and ` + strconv.Itoa(int(exit.NotFound)) + ` for an unknown
dataset, version, instance or label.`,
		Example: `  freshet replay prices --label tier=canary --reason "stale derived data"
  freshet replay prices --instance api-1 --full
  freshet replay prices --from-version 40 --to-subject prices.history --rate 50`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("request-id") {
				f.requestID = rand.Text()
			}
			f.audit.fill()
			return f.run(cmd, p, args[0])
		},
	}
	flags := cmd.Flags()
	publisherURL.add(cmd, p, &f.publisher)
	f.choose.add(cmd, "replay")
	f.audit.add(cmd)
	flags.Lookup("reason").Usage = "why, stored in the journal"
	flags.Lookup("by").Usage = "who, stored in the journal; not verified (default: user@host)"
	flags.Lookup("dry-run").Usage = "show which instances would do what, or which events would be sent; do nothing"
	flags.StringVar(&f.version, "version", "", "the version that the instances must serve, as N or N@ID; with --to-subject, the only version")
	flags.Uint64Var(&f.from, "from-version", 0, "callbacks get the changes since this version; with --to-subject, the first version")
	flags.Uint64Var(&f.to, "to-version", 0, "with --to-subject: the last version (default: the newest)")
	flags.StringVar(&f.since, "since", "", "with --to-subject: versions since a time (2026-11-30T12:00:00Z), or since so long ago (2h)")
	flags.BoolVar(&f.full, "full", false, "drop the table and pull the snapshot again")
	flags.StringVar(&f.subject, "to-subject", "", "the NATS subject that gets the events")
	flags.Float64Var(&f.rate, "rate", replay.DefaultRate, "with --to-subject: the most events a second")
	flags.DurationVar(&f.wait, "wait-timeout", 10*time.Minute, "how long to wait for the instances; those that have begun go on after it")
	flags.StringVar(&f.requestID, "request-id", "", "id of this replay, for a repeated command (default: random)")
	f.out.add(cmd)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) })
	return cmd
}

// request returns the request of the flags.
func (f *replayFlags) request(cmd *cobra.Command, name string) (in publisher.Replay, err error) {
	in = publisher.Replay{
		ToSubject: f.subject, Version: f.version, FromVersion: f.from, ToVersion: f.to, Since: f.since, Full: f.full, DryRun: f.audit.dryRun,
		By: f.audit.by, Reason: f.audit.reason,
	}
	if err := errors.Join(dataset.CheckName(name), dataset.CheckRequestID(f.requestID), dataset.CheckAudit(f.audit.by, f.audit.reason)); err != nil {
		return in, exit.With(exit.Usage, err)
	}
	changed := cmd.Flags().Changed
	for _, flag := range []string{"from-version", "to-version"} {
		if v, err := cmd.Flags().GetUint64(flag); err == nil && v == 0 && changed(flag) {
			return in, exit.Errorf(exit.Usage, "--%s 0: versions begin at 1", flag)
		}
	}
	if f.version != "" {
		if _, _, err := publish.ParseRef(f.version); err != nil {
			return in, exit.Errorf(exit.Usage, "--version %w", err)
		}
	}
	if !changed("to-subject") {
		for _, flag := range []string{"to-version", "since", "rate"} {
			if changed(flag) {
				return in, exit.Errorf(exit.Usage, "--%s requires --to-subject: instances take in the version that they serve", flag)
			}
		}
		selection, err := f.choose.selection()
		if err != nil {
			return in, err
		}
		in.All, in.Instances, in.Labels = selection.All, selection.Instances, selection.Labels
		if f.wait < time.Second || f.wait > 24*time.Hour {
			return in, exit.Errorf(exit.Usage, "--wait-timeout %s: want 1s to 24h", f.wait)
		}
		in.WaitSeconds = f.wait.Seconds()
		return in, nil
	}
	if err := events.CheckReplaySubject(f.subject); err != nil {
		return in, exit.Errorf(exit.Usage, "--to-subject: %w", err)
	}
	if f.choose.given() || f.full || changed("wait-timeout") {
		return in, exit.Errorf(exit.Usage, "--to-subject excludes --instance, --label, --all, --full and --wait-timeout: a replay goes to instances or to a subject")
	}
	in.Rate = f.rate
	return in, nil
}

func (f *replayFlags) run(cmd *cobra.Command, p Process, name string) error {
	ctx := cmd.Context()
	in, err := f.request(cmd, name)
	if err != nil {
		return err
	}
	c, err := client.New(f.publisher, "publisher", publisherURL.hint())
	if err != nil {
		return err
	}
	defer c.Close()
	out := &replayPrinter{out: p.Out, json: f.out == jsonOutput, in: in}
	result, err := c.Replay(ctx, name, f.requestID, in, func(l publisher.ReplayLine) error {
		if l.Begun != nil {
			for _, w := range l.Begun.Warnings {
				fmt.Fprintf(p.Err, "freshet: warning: %s\n", w)
			}
		}
		return out.line(l)
	})
	if err != nil && out.begun {
		return exit.With(exit.TimedOut, err) // the outcomes so far are printed
	}
	if err != nil {
		return err
	}
	if verdict := fleet.ReplayVerdict(out.behind); verdict != nil && !in.DryRun {
		err := verdictOf(out.behind, result.Instances)
		if slices.ContainsFunc(out.behind, func(o fleet.ReplayOutcome) bool {
			return o.State != fleet.ReplayRefused && o.State != fleet.ReplayUnable
		}) {
			err = fmt.Errorf("%w; run it again with --request-id %s: those that did it do nothing", err, result.RequestID)
		}
		return exit.With(exit.TimedOut, err)
	}
	return nil
}

// verdictOf returns the verdict on all instances, of which those behind did not replay.
func verdictOf(behind []fleet.ReplayOutcome, instances int) error {
	all := slices.SortedStableFunc(slices.Values(behind), func(a, b fleet.ReplayOutcome) int { return cmp.Compare(a.Instance, b.Instance) })
	for len(all) < instances {
		all = append(all, fleet.ReplayOutcome{ReplayReport: fleet.ReplayReport{State: fleet.ReplayDone}})
	}
	return fleet.ReplayVerdict(all)
}

var replayColumns = []show.Column{
	{Title: "instance", Width: 16},
	{Title: "state", Width: len(fleet.ReplayUnfinished)},
	{Title: "version", Align: show.Right},
	{Title: "pulled", Align: show.Right},
	{Title: "callbacks", Align: show.Right},
	{Title: "took", Align: show.Right},
	{Title: "why"},
}

// replayPrinter prints the lines of a replay as they arrive.
type replayPrinter struct {
	out    io.Writer
	json   bool
	in     publisher.Replay
	titled bool
	begun  bool
	behind []fleet.ReplayOutcome // the instances that did not replay
}

func (o *replayPrinter) line(l publisher.ReplayLine) error {
	if i := l.Instance; i != nil && i.State != fleet.ReplayDone {
		o.behind = append(o.behind, *i)
	}
	o.begun = o.begun || l.Begun != nil
	switch {
	case o.json:
		return writeLine(o.out, l)
	case l.Instance != nil:
		return o.instance(*l.Instance)
	case l.Begun != nil && o.in.ToSubject != "" && o.in.DryRun:
		_, err := fmt.Fprintf(o.out, "%s would be sent to %s%s\n", count(l.Begun.Versions, "event"), o.in.ToSubject, versionRange(l.Begun.First, l.Begun.Last))
		return err
	case l.Result != nil && l.Result.Sent != nil && !l.Result.DryRun:
		s := l.Result.Sent
		_, err := fmt.Fprintf(o.out, "%s sent to %s%s\n", count(s.Events, "event"), o.in.ToSubject, versionRange(s.First, s.Last))
		return err
	}
	return nil
}

func versionRange(first, last uint64) string {
	switch {
	case last == 0:
		return ""
	case first == last:
		return fmt.Sprintf(", version %d", first)
	}
	return fmt.Sprintf(", versions %d to %d", first, last)
}

func (o *replayPrinter) instance(i fleet.ReplayOutcome) error {
	if !o.titled {
		o.titled = true
		if err := show.Titles(o.out, replayColumns); err != nil {
			return err
		}
	}
	version, pulled, callbacks, took, why := show.None, show.None, show.None, show.None, i.Error
	if i.Version > 0 {
		version = strconv.FormatUint(i.Version, 10)
	}
	if i.Full {
		pulled = show.Bytes(i.PulledBytes)
	}
	if i.State == fleet.ReplayDone {
		callbacks = strconv.Itoa(i.Callbacks)
	}
	if i.Duration > 0 {
		took = max(i.Duration.Round(time.Millisecond), time.Millisecond).String()
	}
	if i.Repeated {
		why = "an earlier request with this id did it"
	}
	return show.Row(o.out, replayColumns, i.Instance, string(i.State), version, pulled, callbacks, took, show.OneLine(cmp.Or(why, show.None)))
}

// replayText describes the journal entry of a replay.
func replayText(e dataset.Entry) string {
	content, err := replay.DecodeEntry(e)
	if err != nil {
		return string(e.Content) // of a later release
	}
	return content.String()
}
