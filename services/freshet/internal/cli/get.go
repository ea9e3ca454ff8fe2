package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
)

func newGet(p Process) *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use:   "get DATASET KEY",
		Short: "Look up a record in an instance and print its value",
		Long: fmt.Sprintf(`Look up a record in an instance and print its value, unchanged and without a line end.

The exit code is %d if the dataset has no such record, or the instance does not have the dataset.`, exit.NotFound),
		Example: `  freshet get browser-compat webassembly.memory64 | jq .support`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, key := args[0], args[1]
			if err := dataset.CheckName(name); err != nil {
				return exit.With(exit.Usage, err)
			}
			if err := dataset.CheckKey([]byte(key)); err != nil {
				return exit.With(exit.Usage, err)
			}
			c, err := client.New(server, "server", serverURL.hint())
			if err != nil {
				return err
			}
			defer c.Close()
			record, err := c.Record(cmd.Context(), name, key)
			if err != nil {
				return err
			}
			_, err = p.Out.Write(record.Value)
			return err
		},
	}
	serverURL.add(cmd, p, &server)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return servedNames(ctx, server) })
	return cmd
}
