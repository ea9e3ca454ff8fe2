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
		Long: `Run NATS, Redis, a publisher, a relay and three instances in this process, publish successive real releases of a
dataset, and show what each cost and how soon every instance served it. Then it runs on until Ctrl-C, for you to try
things (exit code 0); with --exit it ends. Ctrl-C before that ends it too (exit code 130). Nothing is left behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return stackError(demo.Run(cmd.Context(), cfg, p.Out))
		},
	}
	cmd.Flags().BoolVar(&cfg.Exit, "exit", false, "end when everything is shown")
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "folder to make the demo's own, temporary folder in (default: the system's)")
	namespace.add(cmd, p, &cfg.Namespace)
	addPorts(cmd, &cfg.Ports, stack.Ports{})
	return cmd
}
