package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/publisher"
)

func newHistory(p Process) *cobra.Command {
	var (
		at    versionFlags
		limit int
		out   output
	)
	cmd := &cobra.Command{
		Use:   "history DATASET KEY",
		Short: "Show the versions that changed a record, newest first",
		Long: fmt.Sprintf(`Show the versions that added, changed or removed a record, newest first, from the publisher's store. It reads the footer
and at most one block of each version's delta, and not the dataset.

For two JSON objects the members that differ are shown. Long values are cut; with --output json they are whole, and each
version is a line.

Versions whose bytes are gone, because retention does not keep them, are left out; stderr says so.

The exit code is %d if there is no such dataset, or if no version that was read has changed the record.`, exit.NotFound),
		Example: `  freshet history prices A1
  freshet history prices A1 --limit 0 --output json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			if err := dataset.CheckKey([]byte(args[1])); err != nil {
				return exit.With(exit.Usage, err)
			}
			c, err := at.start(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			return printHistory(cmd, p, c, args[0], args[1], limit, out)
		},
	}
	publisherURL.add(cmd, p, &at.publisher)
	cmd.Flags().IntVar(&limit, "limit", 100, "read at most this many of the newest versions; 0 reads all")
	at.complete(cmd)
	out.add(cmd)
	return cmd
}

// event is a line of a history.
type event struct {
	publisher.Event
	change
}

var historyColumns = []show.Column{
	{Title: "version", Align: show.Right, Width: 7}, {Title: "committed", Width: len(time.DateTime)}, {Title: "record", Width: len("changed")}, {Title: "value"},
}

// printHistory prints the history of a record in the newest versions.
func printHistory(cmd *cobra.Command, p Process, c *client.Client, name, key string, limit int, out output) error {
	events, read := 0, 0
	each := func(line []byte) error {
		events++
		if out == jsonOutput {
			_, err := p.Out.Write(append(line, '\n'))
			return err
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read a version of a history: %w", err)
		}
		created, err := time.Parse(time.RFC3339Nano, e.Created)
		if err != nil {
			return fmt.Errorf("read a version of a history: %w", err)
		}
		if events == 1 {
			if err := show.Titles(p.Out, historyColumns); err != nil {
				return err
			}
		}
		return show.Row(p.Out, historyColumns, strconv.FormatUint(e.Version, 10), created.Local().Format(time.DateTime), e.Op, e.text())
	}
	for before := uint64(0); ; {
		page := client.MaxPage
		if limit > 0 {
			page = min(page, limit-read)
		}
		end, err := c.History(cmd.Context(), name, key, before, page, each)
		if err != nil {
			return err
		}
		read += page
		before = end.NextBefore
		switch {
		case before > 0 && (limit == 0 || read < limit):
			continue
		case before > 0:
			fmt.Fprintf(p.Err, "freshet: versions below %d were not read; --limit 0 reads all\n", before)
		case end.Oldest > 1:
			// The page ends at versions whose bytes are gone.
			if events == 0 {
				return exit.Errorf(exit.NotFound, "no version of dataset %s from %d on changed the record with the key %q; the bytes of earlier versions are gone, "+
					"because retention does not keep them; `freshet get %[1]s %[3]q --version %[2]d` shows whether it has the record", name, end.Oldest, key)
			}
			fmt.Fprintf(p.Err, "freshet: versions below %d were not read: their bytes are gone, because retention does not keep them\n", end.Oldest)
		case events == 0:
			return exit.Errorf(exit.NotFound, "no version of dataset %s ever had a record with the key %q", name, key)
		}
		return nil
	}
}
