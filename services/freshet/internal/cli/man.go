package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/build"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write a manual page for each command into a folder",
		Example: `  freshet man /usr/local/share/man/man1
  freshet man /tmp/man && man /tmp/man/freshet-publish.1`,
		Long: `Write the manual pages freshet.1, freshet-publish.1 and so on into a folder, which is created if it is missing. They have
the text of --help. SOURCE_DATE_EPOCH, if it is set, is the date in the pages.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return exit.With(exit.Failure, err)
			}
			root := cmd.Root()
			disableTags(root)
			header := &doc.GenManHeader{Section: "1", Source: "freshet " + build.Read().Version, Manual: "freshet"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			return nil
		},
	}
}

// disableTags leaves out the section that names the generator.
func disableTags(c *cobra.Command) {
	c.DisableAutoGenTag = true
	for _, sub := range c.Commands() {
		disableTags(sub)
	}
}
