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
	var remote remoteGet
	cmd := &cobra.Command{
		Use:   "get DATASET KEY...",
		Short: "Look up a record in an instance and print its value",
		Long: fmt.Sprintf(`Look up a record in an instance and print its value, unchanged and without a line end.

The exit code is %d if the dataset has no such record, or the instance does not have the dataset.

`, exit.NotFound) + remoteGetHelp,
		Example: `  freshet get browser-compat webassembly.memory64 | jq .support
  freshet get prices A1 B2 --all`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, keys := args[0], args[1:]
			if err := dataset.CheckName(name); err != nil {
				return exit.With(exit.Usage, err)
			}
			for _, key := range keys {
				if err := dataset.CheckKey([]byte(key)); err != nil {
					return exit.With(exit.Usage, err)
				}
			}
			if remote.choose.given() {
				return remote.run(cmd.Context(), p, name, keys)
			}
			switch {
			case len(keys) > 1:
				return exit.Errorf(exit.Usage, "%d keys: want one key, or --instance, --label or --all", len(keys))
			case remote.out == jsonOutput:
				return exit.Errorf(exit.Usage, "--output json requires --instance, --label or --all; without them the value is printed as it is")
			}
			c, err := client.New(server, "server", serverURL.hint())
			if err != nil {
				return err
			}
			defer c.Close()
			record, err := c.Record(cmd.Context(), name, keys[0])
			if err != nil {
				return err
			}
			_, err = p.Out.Write(record.Value)
			return err
		},
	}
	serverURL.add(cmd, p, &server)
	remote.add(cmd, p)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return servedNames(ctx, server) })
	return cmd
}
