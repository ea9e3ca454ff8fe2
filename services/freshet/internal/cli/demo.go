package cli

import (
	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/demo"
	"freshet.dev/services/freshet/internal/stack"
)

func newDemo(p Process) *cobra.Command {
	cfg := demo.Config{Command: p.Command}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work on real data, with nothing to install",
		Example: `  freshet demo
  freshet demo --exit`,
		Long: `Run NATS, Redis, a publisher, a relay and three instances in this process. The demo publishes successive real releases
of a dataset, and shows what each release cost and when each instance served it. It then runs until Ctrl-C, so that you
can try commands (exit code 0); with --exit it ends. Ctrl-C before that gives exit code 130. The demo removes its files.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return stackError(demo.Run(cmd.Context(), cfg, p.Out))
		},
	}
	cmd.Flags().BoolVar(&cfg.Exit, "exit", false, "end after the last table")
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "folder for the demo's temporary folder (default: the system's)")
	namespace.add(cmd, p, &cfg.Namespace)
	addPorts(cmd, &cfg.Ports, stack.Ports{})
	return cmd
}
