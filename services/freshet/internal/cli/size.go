package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/publisher"
)

func newSize(p Process) *cobra.Command {
	var (
		at   versionFlags
		last int
		out  output
	)
	cmd := &cobra.Command{
		Use:   "size DATASET",
		Short: "Show what a version takes in the store and in the memory of an instance",
		Long: fmt.Sprintf(`Show what a version takes in the store, and what it will take in the memory of an instance, before it is deployed; and how
the last versions have grown. It reads version records only.

  payload   the keys and the values
  memory    an estimate of the table that an instance loads from the snapshot; many deltas add up to a quarter, and
            earlier versions that are kept for rollbacks up to the percentage in FRESHET_KEEP_ROOTS, 15. An instance that
            loads a snapshot while it serves another version needs memory for both

The exit code is %d if there is no such dataset or version.`, exit.NotFound),
		Example: `  freshet size prices`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if last < 1 || last > client.MaxPage {
				return exit.Errorf(exit.Usage, "--last %d: want 1 to %d", last, client.MaxPage)
			}
			c, err := at.start(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			size, err := c.Size(cmd.Context(), args[0], at.version, last)
			if err != nil {
				return err
			}
			if out == jsonOutput {
				return writeJSON(p.Out, size)
			}
			return printSize(p.Out, size, time.Local)
		},
	}
	at.add(cmd, p, "the version to measure (default: the newest)")
	cmd.Flags().IntVar(&last, "last", 10, "show the growth over this many versions")
	at.complete(cmd)
	out.add(cmd)
	return cmd
}

var sizeColumns = []show.Column{
	{Title: "version", Align: show.Right},
	{Title: "committed"},
	{Title: "records", Align: show.Right},
	{Title: "payload", Align: show.Right},
	{Title: "memory", Align: show.Right},
	{Title: "delta", Align: show.Right},
}

// printSize prints the size, with times in the zone.
func printSize(w io.Writer, s publisher.Size, zone *time.Location) error {
	chain := ""
	if s.Deltas > 0 {
		chain = fmt.Sprintf(", and %s of %s", show.Deltas(s.Deltas), show.Bytes(s.DeltaBytes))
	}
	_, err := fmt.Fprintf(w, "%s version %d: %s, payload %s\nstore: a snapshot of %s (version %d)%s\nmemory of an instance: about %s, and up to FRESHET_KEEP_ROOTS percent more for earlier versions\n\n", s.Dataset, s.Version,
		show.Records(s.Records), show.Bytes(int64(s.PayloadBytes)), show.Bytes(s.SnapshotBytes), s.SnapshotVersion, chain, show.Bytes(s.TableBytes))
	if err != nil {
		return err
	}
	var rows [][]string
	for _, v := range s.Growth {
		delta := show.None
		if v.DeltaBytes > 0 {
			delta = show.Bytes(v.DeltaBytes)
		}
		committed := v.Created
		if t, err := time.Parse(time.RFC3339Nano, v.Created); err == nil {
			committed = t.In(zone).Format(time.DateTime)
		}
		rows = append(rows, []string{
			strconv.FormatUint(v.Version, 10), committed, show.Count(v.Records), show.Bytes(int64(v.PayloadBytes)), show.Bytes(v.TableBytes), delta,
		})
	}
	return show.Table(w, sizeColumns, rows)
}
