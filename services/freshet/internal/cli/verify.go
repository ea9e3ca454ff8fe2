package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/verify"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/publisher"
)

func newVerify(p Process) *cobra.Command {
	var (
		address string
		repair  bool
		out     output
	)
	cmd := &cobra.Command{
		Use:   "verify [DATASET]",
		Short: "Read the store to its end and say what is lost or damaged, and what still serves it",
		Long: `Read the store to its end and say what is lost or damaged, and what still serves it.

The publisher reads every version record, every object and every journal entry of the dataset, or of all datasets. It compares
ids, chains, digests and state checksums, and the event log and the catalog with the store. It reads each object once. Publishes,
patches and compactions may go on. One verification runs at a time.

Each finding has a line in the table, and below it what is wrong, which versions cannot be loaded and which can, and what to do.
The findings:
` + kindsText() + `
--repair puts right what the publisher can put right: a lost object that other objects of the store make again, the record
of a compaction's snapshot, the event log, the catalog, and a missing store id. If the newest version cannot be loaded and can still
be read, it publishes a version with the same content, which names you (user@host). The rest needs a backup, a publish of all
records, or for damaged settings new ones.

JSON output has a line for each finding and a last line with the totals.

The exit code is ` + strconv.Itoa(int(exit.Findings)) + ` if something was found that is not repaired, and ` + strconv.Itoa(int(exit.NotFound)) + ` if there is no such dataset.`,
		Example: `  freshet verify
  freshet verify prices --repair`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
				if err := dataset.CheckName(name); err != nil {
					return exit.With(exit.Usage, err)
				}
			}
			c, err := client.New(address, "publisher", publisherURL.hint())
			if err != nil {
				return err
			}
			defer c.Close()
			report := printFinding(p.Out)
			if out == jsonOutput {
				report = func(l publisher.VerifyLine) error { return writeLine(p.Out, l) }
			}
			totals, err := c.Verify(cmd.Context(), name, repair, caller(), report)
			if err != nil {
				return err
			}
			if left := totals.Findings - totals.Repaired; left > 0 {
				return exit.Errorf(exit.Findings, "%s not repaired", countFindings(left, "is", "are"))
			}
			return nil
		},
	}
	publisherURL.add(cmd, p, &address)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, address) })
	cmd.Flags().BoolVar(&repair, "repair", false, "repair what the publisher can repair")
	out.add(cmd)
	return cmd
}

// kindsText returns the table of the kinds of findings for the help, one indented line a kind.
func kindsText() string {
	var b strings.Builder
	for _, k := range verify.Kinds {
		fmt.Fprintf(&b, "  %-15s  %s\n", k.Kind, k.Text)
	}
	return b.String()
}

var findingColumns = []show.Column{
	{Title: "finding", Width: len(verify.KindSnapshotRecord)},
	{Title: "dataset", Width: 16},
	{Title: "version", Align: show.Right},
	{Title: "repaired"},
}

// printFinding returns a function that prints each finding as a row of a table, with its texts below it, and the totals.
func printFinding(w io.Writer) func(publisher.VerifyLine) error {
	titled := false
	return func(l publisher.VerifyLine) error {
		if l.Totals != nil {
			return printTotals(w, *l.Totals)
		}
		if !titled {
			titled = true
			if err := show.Titles(w, findingColumns); err != nil {
				return err
			}
		}
		f := *l.Finding
		version, repaired := show.None, "no"
		if f.Version > 0 {
			version = strconv.FormatUint(f.Version, 10)
		}
		if f.Repaired {
			repaired = "yes"
		}
		name := cmp.Or(f.Dataset, show.None)
		if err := show.Row(w, findingColumns, string(f.Kind), name, version, repaired); err != nil {
			return err
		}
		texts := []string{f.Problem, f.Effect, f.Repair}
		if !f.Repaired {
			texts = append(texts, f.Remedy)
		}
		for _, text := range texts {
			if text == "" {
				continue
			}
			if _, err := fmt.Fprintf(w, "  %s\n", show.OneLine(text)); err != nil {
				return err
			}
		}
		return nil
	}
}

func printTotals(w io.Writer, t verify.Totals) error {
	found := "nothing is wrong"
	if t.Findings > 0 {
		found = countFindings(t.Findings, "", "")
		if t.Repaired > 0 {
			found += fmt.Sprintf(", %d repaired", t.Repaired)
		}
	}
	_, err := fmt.Fprintf(w, "%s, %s, %s of %s: %s\n", count(uint64(t.Datasets), "dataset"), count(t.Versions, "version"), count(t.Objects, "object"),
		show.Bytes(t.Bytes), found)
	return err
}

// count returns "1 version" or "2,000 versions".
func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return show.Count(n) + " " + what + "s"
}

// countFindings returns "1 finding is" or "2 findings are", with the given verbs.
func countFindings(n int, one, many string) string {
	if n == 1 {
		return strings.TrimSpace("1 finding " + one)
	}
	return strings.TrimSpace(fmt.Sprintf("%d findings %s", n, many))
}
