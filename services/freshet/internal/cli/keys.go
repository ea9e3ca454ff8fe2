package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
)

func newKeys(p Process) *cobra.Command {
	var (
		at     versionFlags
		prefix string
		limit  int
		out    output
	)
	cmd := &cobra.Command{
		Use:   "keys DATASET",
		Short: "List the keys of a dataset, of any version",
		Long: fmt.Sprintf(`List the keys of a version, one a line, from the publisher's store. They are in the order of their hashes, which is
the same in all versions, and says nothing about the keys: --prefix reads the whole version.

A key that would not show on one line is quoted as in Go. With --output json a line is {"key":"A1"}, or {"key_base64":...}
for a key that is not UTF-8.

The exit code is %d if there is no such dataset or version.`, exit.NotFound),
		Example: `  freshet keys prices --prefix EU- --limit 0
  freshet keys prices --version 41`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			c, err := at.start(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			more, err := printKeys(cmd, p, c, args[0], at.version, prefix, limit, out)
			if more && err == nil {
				fmt.Fprintf(p.Err, "freshet: there are more keys; --limit 0 lists all\n")
			}
			return err
		},
	}
	at.add(cmd, p, "the version to read (default: the newest)")
	cmd.Flags().StringVar(&prefix, "prefix", "", "list only keys that begin with this")
	cmd.Flags().IntVar(&limit, "limit", 100, "list at most this many keys; 0 lists all")
	at.complete(cmd)
	out.add(cmd)
	return cmd
}

// printKeys prints up to limit keys, and reports whether there are more. All pages are of one version.
func printKeys(cmd *cobra.Command, p Process, c *client.Client, name string, version uint64, prefix string, limit int, out output) (more bool, err error) {
	cursor := ""
	for printed := 0; ; {
		most := client.MaxPage
		if limit > 0 {
			most = min(most, limit-printed)
		}
		page, err := c.Keys(cmd.Context(), name, version, prefix, cursor, most)
		if err != nil {
			return false, err
		}
		for _, key := range page.Keys {
			if out == jsonOutput {
				err = writeLine(p.Out, key)
			} else {
				_, err = fmt.Fprintln(p.Out, keyText(key.Bytes()))
			}
			if err != nil {
				return false, err
			}
		}
		printed += len(page.Keys)
		version, cursor = page.Version, page.Next
		if cursor == "" || limit > 0 && printed >= limit {
			return cursor != "", nil
		}
	}
}
