package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/publisher"
)

func newDiff(p Process) *cobra.Command {
	var (
		at    versionFlags
		stat  bool
		limit int
		out   output
	)
	cmd := &cobra.Command{
		Use:   "diff DATASET N M",
		Short: "Show the records that differ between two versions",
		Long: fmt.Sprintf(`Show the records by which version M differs from version N, from the publisher's store. N may be the newer one.

  + KEY VALUE              the record is only in M
  ~ KEY MEMBER: OLD -> NEW the members that differ, of two JSON objects; the new value of others
  - KEY VALUE              the record is only in N

Long values are cut; with --output json they are whole, and each change is a line, with the members op, key, old, new and
members. The last line has the counts.

If the store has the deltas between the versions, only these are read, and the old values of what they change; else both
versions. The exit code is %d if there is no such dataset or version.`, exit.NotFound),
		Example: `  freshet diff prices 40 41
  freshet diff prices 1 41 --stat`,
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			if stat && cmd.Flags().Changed("limit") {
				return exit.Errorf(exit.Usage, "--stat counts all changes; leave it or --limit out")
			}
			from, err := versionArgument(args[1])
			to, err2 := versionArgument(args[2])
			if err := cmp.Or(err, err2); err != nil {
				return err
			}
			c, err := at.start(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			d, more := publisher.Diff{}, false
			if stat {
				d, err = c.DiffStat(cmd.Context(), args[0], from, to)
			} else {
				d, more, err = printDiff(cmd, p, c, args[0], from, to, limit, out)
			}
			switch {
			case err != nil:
				return err
			case more:
				fmt.Fprintf(p.Err, "freshet: there are more changes; --limit 0 shows all\n")
				return nil
			case out == jsonOutput:
				return writeLine(p.Out, d)
			}
			_, err = fmt.Fprintf(p.Out, "%s version %d to %d: %s added, %s changed, %s removed\n", args[0], from, to,
				show.Count(d.Added), show.Count(d.Changed), show.Count(d.Removed))
			return err
		},
	}
	publisherURL.add(cmd, p, &at.publisher)
	cmd.Flags().BoolVar(&stat, "stat", false, "print only how many records differ")
	cmd.Flags().IntVar(&limit, "limit", 0, "show at most this many changes; 0 shows all")
	at.complete(cmd)
	out.add(cmd)
	return cmd
}

// signs begin the lines of a diff.
var signs = map[string]string{"added": "+", "changed": "~", "removed": "-"}

// printDiff prints up to limit changes, all if it is 0. more reports whether there are others.
func printDiff(cmd *cobra.Command, p Process, c *client.Client, name string, from, to uint64, limit int, out output) (d publisher.Diff, more bool, err error) {
	printed := 0
	d, err = c.Diff(cmd.Context(), name, from, to, func(line []byte) error {
		if limit > 0 && printed == limit {
			return errEnough
		}
		printed++
		if out == jsonOutput {
			_, err := p.Out.Write(append(line, '\n'))
			return err
		}
		var ch change
		if err := json.Unmarshal(line, &ch); err != nil {
			return fmt.Errorf("read a change: %w", err)
		}
		_, err := fmt.Fprintf(p.Out, "%s %s %s\n", signs[ch.Op], keyText(ch.Bytes()), ch.text())
		return err
	})
	if errors.Is(err, errEnough) {
		return d, true, nil
	}
	return d, false, err
}
