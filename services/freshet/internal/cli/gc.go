package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/keep"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
)

// gcFlags are the flags of gc.
type gcFlags struct {
	publisher string
	request   keep.Request
	out       output
}

func newGC(p Process) *cobra.Command {
	var f gcFlags
	cmd := &cobra.Command{
		Use:   "gc [DATASET]",
		Short: "Remove the bytes of versions that retention does not keep",
		Long: `Remove the bytes of versions that retention does not keep, through the publisher.

A version is kept if it is among the newest keep_versions, if the next version came less than keep_for ago, if it is pinned or served
by an instance, or if kept versions need all its objects. "freshet settings" sets both. A dataset for which neither is set keeps
everything. Version records stay: "freshet versions" shows which have their bytes.

A run marks the objects that no kept version needs, once they are --grace old. A later run removes what was marked --grace ago and is
still not needed. So the first run frees nothing. The publisher also runs one every FRESHET_GC_EVERY.

--dry-run shows what would be freed; for a dataset without retention, what the default of new datasets would free. It changes nothing.

With a DATASET, only objects of its versions are removed. Left-overs of publishers that died go in runs without one.

If it is not known which versions instances serve, or if a clock has jumped, nothing is removed, and the output says why.`,
		Example: `  freshet gc --dry-run
  freshet gc prices --reason "make room"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.request.Dataset = args[0]
			}
			if cmd.Flags().Changed("grace") && f.request.Grace < keep.MinGrace {
				return exit.Errorf(exit.Usage, "--grace %v: the least is %v", f.request.Grace, keep.MinGrace)
			}
			return f.run(cmd.Context(), p)
		},
	}
	flags := cmd.Flags()
	publisherURL.add(cmd, p, &f.publisher)
	flags.BoolVar(&f.request.DryRun, "dry-run", false, "show what would be freed; change nothing")
	flags.DurationVar(&f.request.Grace, "grace", 0, "how long an object that no version needs stays before it is marked, and then before it is removed; longer than any publish takes (default: FRESHET_GC_GRACE of the publisher)")
	flags.StringVar(&f.request.Reason, "reason", "", "why, kept in the journal (default: the retention)")
	flags.StringVar(&f.request.By, "by", "", "who, kept in the journal (default: user@host)")
	f.out.add(cmd)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) })
	return cmd
}

func (f *gcFlags) run(ctx context.Context, p Process) error {
	if name := f.request.Dataset; name != "" {
		if err := dataset.CheckName(name); err != nil {
			return exit.With(exit.Usage, err)
		}
	}
	f.request.By = cmp.Or(f.request.By, caller())
	if err := dataset.CheckAudit(f.request.By, f.request.Reason); err != nil {
		return exit.With(exit.Usage, err)
	}
	c, err := client.New(f.publisher, "publisher", publisherURL.hint())
	if err != nil {
		return err
	}
	defer c.Close()
	report, err := c.GC(ctx, f.request)
	if err != nil {
		return err
	}
	for _, w := range report.Warnings {
		fmt.Fprintf(p.Err, "freshet: warning: %s\n", w)
	}
	for _, why := range report.Waiting {
		fmt.Fprintf(p.Err, "freshet: warning: nothing is removed now: %s\n", why)
	}
	if f.out == jsonOutput {
		return writeJSON(p.Out, report)
	}
	return printGC(p.Out, report)
}

var gcColumns = []show.Column{
	{Title: "dataset"},
	{Title: "retention"},
	{Title: "kept", Align: show.Right},
	{Title: "gone", Align: show.Right},
	{Title: "frees", Align: show.Right},
	{Title: "versions to free"},
}

// printGC prints the datasets as a table, and then what the run did.
func printGC(w io.Writer, r keep.Report) error {
	var rows [][]string
	var unset []string
	for _, d := range r.Datasets {
		retention, frees := d.Retention.String(), show.Bytes(d.Frees.Bytes)
		if !d.RetentionSet {
			unset = append(unset, d.Dataset)
			retention = "not set"
			frees = "(" + frees + ")"
		}
		rows = append(rows, []string{
			d.Dataset, retention, show.Count(uint64(d.Kept)), show.Count(d.Gone.Count()), frees, cmp.Or(d.Free.String(), show.None),
		})
	}
	if len(rows) > 0 {
		if err := show.Table(w, gcColumns, rows); err != nil {
			return err
		}
	}
	var b strings.Builder
	if len(unset) > 0 {
		fmt.Fprintf(&b, "\nRetention is not set for %s: nothing of it is removed. In brackets is what %s would free; for example:\n  freshet settings %s --set keep_versions=%d --set keep_for=%s --reason \"...\"\n",
			strings.Join(unset, ", "), dataset.DefaultRetention, unset[0], dataset.DefaultRetention.Versions, dataset.DefaultRetention.For)
	}
	fmt.Fprintln(&b)
	if r.DryRun {
		fmt.Fprintf(&b, "to free: %s; %s of them are left-overs that no version names\n", sumText(r.Unneeded), sumText(r.LeftOvers))
	} else {
		fmt.Fprintf(&b, "removed %s; marked %s, which a run after %v removes; not needed: %s\n",
			sumText(r.Removed), sumText(r.Marked), r.Grace.Round(time.Millisecond), sumText(r.Unneeded))
	}
	_, err := io.WriteString(w, strings.TrimLeft(b.String(), "\n"))
	return err
}

// sumText returns "3 objects (1.2 MB)".
func sumText(s keep.Sum) string {
	return fmt.Sprintf("%s (%s)", count(uint64(s.Objects), "object"), show.Bytes(s.Bytes))
}
