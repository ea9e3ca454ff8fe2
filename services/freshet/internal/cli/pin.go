package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
)

// pinFlags are the flags of pin, and those of unpin but for version and absent.
type pinFlags struct {
	publisher, nats, namespace string
	version                    string
	choose                     selectionFlags
	by, reason                 string
	dryRun, absent, wait       bool
	timeout                    time.Duration
	out                        output
}

func newPin(p Process) *cobra.Command {
	var f pinFlags
	cmd := &cobra.Command{
		Use:   "pin DATASET",
		Short: "Make instances hold a version of a dataset, whatever is announced",
		Example: `  freshet pin prices --version 41 --label tier=canary --reason "compare before the rollout" --wait
  freshet pin prices --version 41@0123456789ab --all --reason "version 42 has the wrong currency"
  freshet pin prices --version 41 --instance api-1 --reason "debugging" --dry-run`,
		Long: `Make the chosen instances hold a version of a dataset, whatever is announced, until "freshet unpin". An instance that serves
a newer version goes back to it. Pins are kept in the store, as entries of the dataset's journal, and by each instance in
its cache folder. "freshet status" shows such instances as pinned.

If several pins choose an instance, the newest pin holds. A pin of the same instances is replaced.

Instances that start later are pinned too. --absent allows names and labels that no running instance has.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), p, args[0], true) },
	}
	cmd.Flags().StringVar(&f.version, "version", "", "the version to hold, as N or N@ID; required")
	cmd.Flags().BoolVar(&f.absent, "absent", false, "pin also if no running instance has the name or the labels")
	f.add(cmd, p, "pin")
	return cmd
}

func newUnpin(p Process) *cobra.Command {
	var f pinFlags
	cmd := &cobra.Command{
		Use:   "unpin DATASET",
		Short: "Release instances that hold a version of a dataset",
		Example: `  freshet unpin prices --label tier=canary --reason "the rollout goes on" --wait
  freshet unpin prices --all --reason "version 43 is right"`,
		Long: `Release instances that hold a version of a dataset: they go to the newest version. --instance and --label name the pin that
was set with the same flags; --all removes every pin of the dataset. "freshet pins DATASET" shows them.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), p, args[0], false) },
	}
	f.add(cmd, p, "unpin")
	return cmd
}

func newPins(p Process) *cobra.Command {
	var address string
	var out output
	cmd := &cobra.Command{
		Use:     "pins DATASET",
		Short:   "Show the pins of a dataset",
		Example: `  freshet pins prices`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := dataset.CheckName(args[0]); err != nil {
				return exit.With(exit.Usage, err)
			}
			got, err := withClient(address, "publisher", func(c *client.Client) (publisher.DatasetPins, error) { return c.Pins(cmd.Context(), args[0]) })
			if err != nil {
				return err
			}
			if out == jsonOutput {
				return writeJSON(p.Out, got)
			}
			return printPins(p, got)
		},
	}
	publisherURL.add(cmd, p, &address)
	out.add(cmd)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, address) })
	return cmd
}

func (f *pinFlags) add(cmd *cobra.Command, p Process, verb string) {
	publisherURL.add(cmd, p, &f.publisher)
	natsURL.add(cmd, p, &f.nats)
	namespace.add(cmd, p, &f.namespace)
	f.choose.add(cmd, verb)
	flags := cmd.Flags()
	flags.StringVar(&f.reason, "reason", "", "why; required, and kept with the change")
	flags.StringVar(&f.by, "by", "", "who makes the change, kept with it (default: user@host)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show what would change; change nothing")
	flags.BoolVar(&f.wait, "wait", false, "wait until every running instance of those follows the change")
	flags.DurationVar(&f.timeout, "wait-timeout", time.Minute, "timeout of --wait")
	f.out.add(cmd)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) })
}

// request returns what the flags ask the publisher for.
func (f *pinFlags) request(name string, pins bool) (in publisher.PinRequest, err error) {
	if err := dataset.CheckName(name); err != nil {
		return in, exit.With(exit.Usage, err)
	}
	if err := settings.CheckNamespace(f.namespace); err != nil {
		return in, exit.With(exit.Usage, err)
	}
	selection, err := f.choose.selection()
	if err != nil {
		return in, err
	}
	switch {
	case pins && f.version == "":
		return in, exit.Errorf(exit.Usage, "--version is missing: it names the version to hold; `freshet versions %s` lists them", name)
	case strings.TrimSpace(f.reason) == "":
		return in, exit.Errorf(exit.Usage, `a change of pins needs --reason, for those who read the events later: --reason "why"`)
	case f.wait && f.timeout <= 0:
		return in, exit.Errorf(exit.Usage, "--wait-timeout %s: want more than 0", f.timeout)
	case f.wait && f.dryRun:
		return in, exit.Errorf(exit.Usage, "--dry-run changes nothing to wait for; leave out --wait")
	}
	if pins {
		if _, _, err := publish.ParseRef(f.version); err != nil {
			return in, exit.Errorf(exit.Usage, "--version %w", err)
		}
	}
	return publisher.PinRequest{
		Version: f.version, Instances: selection.Instances, Labels: selection.Labels, All: selection.All,
		By: cmp.Or(f.by, caller()), Reason: f.reason, DryRun: f.dryRun,
	}, nil
}

func (f *pinFlags) run(ctx context.Context, p Process, name string, pins bool) error {
	in, err := f.request(name, pins)
	if err != nil {
		return err
	}
	c, err := client.New(f.publisher, "publisher", publisherURL.hint())
	if err != nil {
		return err
	}
	defer c.Close()
	instances, err := f.open(ctx, p, in, pins)
	if err != nil {
		return err
	}
	defer instances.Close()
	var got publisher.DatasetPins
	if pins {
		got, err = c.Pin(ctx, name, in, rand.Text())
	} else {
		got, err = c.Unpin(ctx, name, in, rand.Text())
	}
	if errors.Is(err, client.ErrUnknown) {
		return fmt.Errorf("%w; it is not known whether the pins were changed: look at `freshet pins %s`, and run the command again if it does not show the change", err, name)
	}
	if err != nil {
		return err
	}
	if f.out == jsonOutput {
		err = writeJSON(p.Out, got)
	} else {
		err = printChange(p, got)
	}
	for _, w := range got.Warnings {
		fmt.Fprintf(p.Err, "freshet: warning: %s\n", w)
	}
	if err != nil || !f.wait {
		return err
	}
	return instances.await(ctx, p, got)
}

// printChange prints what a change did, or would do.
func printChange(p Process, got publisher.DatasetPins) error {
	verb := func(done, would string) string {
		if got.DryRun {
			return would
		}
		return done
	}
	for _, one := range got.Removed {
		fmt.Fprintf(p.Out, "%s: %s of %s to version %s\n", got.Dataset, verb("removed the pin", "would remove the pin"), one.Chosen(), one.Ref())
	}
	switch {
	case got.Set != nil:
		fmt.Fprintf(p.Out, "%s: %s %s to version %s\n", got.Dataset, verb("pinned", "would pin"), got.Set.Chosen(), got.Set.Ref())
	case len(got.Removed) == 0:
		fmt.Fprintf(p.Out, "%s: the pins were so already; nothing was changed\n", got.Dataset)
	}
	return printPins(p, got)
}

var pinColumns = []show.Column{
	{Title: "instances"}, {Title: "version", Align: show.Right}, {Title: "id"}, {Title: "since"}, {Title: "by"}, {Title: "entry", Align: show.Right}, {Title: "reason"},
}

// printPins prints the pins of a dataset, the newest last.
func printPins(p Process, got publisher.DatasetPins) error {
	if len(got.Pins) == 0 {
		_, err := fmt.Fprintf(p.Out, "%s: no instance is pinned\n", got.Dataset)
		return err
	}
	var rows [][]string
	for _, one := range got.Pins {
		rows = append(rows, []string{
			one.Chosen(), fmt.Sprint(one.Version), one.ID.Short(), one.At.In(time.Local).Format(time.DateTime), cmp.Or(one.By, show.None), fmt.Sprint(one.Entry), one.Reason,
		})
	}
	return show.Table(p.Out, pinColumns, rows)
}

// pinText returns what a journal entry changed about pins.
func pinText(c dataset.PinChange) string {
	var parts []string
	if c.Set != nil {
		parts = append(parts, fmt.Sprintf("%s to version %s", c.Set.Chosen(), c.Set.Ref()))
	}
	for _, one := range c.Removed {
		parts = append(parts, fmt.Sprintf("no longer %s to version %s", one.Chosen(), one.Ref()))
	}
	if len(parts) == 0 {
		return "no instance is pinned"
	}
	return strings.Join(parts, ", ")
}
