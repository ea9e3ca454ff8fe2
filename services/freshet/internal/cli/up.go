package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/freshet/internal/stack"
	"freshet.dev/services/internal/settings"
)

func newUp(p Process) *cobra.Command {
	var (
		dir       string
		host      string
		instances int
		ports     stack.Ports
		level     = slog.LevelWarn
	)
	var inNamespace string
	cmd := &cobra.Command{
		Use:   "up DATASET...",
		Short: "Run everything in this process: NATS, Redis, publisher, relay and instances of the datasets",
		Long: `Run everything in this process: NATS, Redis, a publisher, a relay, and instances that subscribe to the datasets.
It is for one machine and for trials. Published data stays in --dir; the next ` + "`freshet up`" + ` with the same folder serves
it again. The command runs until Ctrl-C (exit code 0).

The services read their other settings from the environment, as their own programs do: FRESHET_INDEXES declares secondary
indexes, and FRESHET_RESP_LISTEN=6380 answers lookups of Redis' clients on port 6380; further instances use the next ports.`,
		Example: `  freshet up prices cities --instances 2
  FRESHET_INDEXES=prices:cents^ FRESHET_RESP_LISTEN=6380 freshet up prices`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg := stack.Config{
				Dir: dir, Host: host, Ports: ports, Namespace: inNamespace, Datasets: args,
				Log: slog.New(slog.NewTextHandler(p.Err, &slog.HandlerOptions{Level: level})),
			}
			for i := range instances {
				cfg.Instances = append(cfg.Instances, "up-"+strconv.Itoa(i+1))
			}
			return stackError(stack.Run(cmd.Context(), cfg, func(ctx context.Context, at stack.Addresses) error {
				if err := printAddresses(p, at, args[0], dir, inNamespace); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			}))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "freshet-data", "folder for the store, the event log and the caches; created if it does not exist")
	flags.StringVar(&host, "host", "127.0.0.1", "address to listen on; no service requires a password, so do not expose it to an untrusted network")
	flags.IntVar(&instances, "instances", 1, "number of instances")
	flags.TextVar(&level, "log-level", level, "lowest level of log lines on stderr: debug, info, warn or error")
	namespace.add(cmd, p, &inNamespace)
	addPorts(cmd, &ports, stack.Ports{NATS: 4222, Redis: 6379, Publisher: 8480, Relay: 8481, Server: 8482})
	return cmd
}

// addPorts adds the flags for the ports of a stack. A flag's name begins with the name of its part, as stackError expects.
func addPorts(cmd *cobra.Command, ports *stack.Ports, def stack.Ports) {
	add := func(port *int, part string, def int, usage string) {
		cmd.Flags().IntVar(port, part+"-port", def, "port of "+usage+"; 0 selects a free port")
	}
	add(&ports.NATS, "nats", def.NATS, "NATS")
	add(&ports.Redis, "redis", def.Redis, "Redis")
	add(&ports.Publisher, "publisher", def.Publisher, "the publisher")
	add(&ports.Relay, "relay", def.Relay, "the relay")
	add(&ports.Server, "server", def.Server, "the first server, and further ones use the next ports")
}

// stackError adds what to do to the error of a stack.
func stackError(err error) error {
	if busy, ok := errors.AsType[*stack.PortError](err); ok {
		return fmt.Errorf("%w; stop that program or choose another port with --%s-port (0 selects a free port)", busy, busy.Part)
	}
	switch {
	case errors.Is(err, stack.ErrDir):
		return fmt.Errorf("%w; choose another folder with --dir", err)
	case errors.Is(err, stack.ErrInUse):
		return fmt.Errorf("%w; stop it or choose another folder with --dir", err)
	case errors.Is(err, settings.ErrSettings), errors.Is(err, stack.ErrConfig):
		return exit.With(exit.Usage, err)
	}
	return err
}

func printAddresses(p Process, at stack.Addresses, name, dir, namespace string) error {
	rows := [][]string{
		{"publisher", at.Publisher, "POST /v1/datasets/" + name + "/versions, PATCH /v1/datasets/" + name},
		{"relay", at.Relay, "GET /v1/datasets/" + name + "/latest"},
	}
	for _, i := range at.Instances {
		rows = append(rows, []string{i.Name, i.URL, "GET /v1/datasets/" + name + "/records/KEY"})
		if i.RESP != "" {
			rows = append(rows, []string{"", "redis://" + i.RESP, "GET " + name + ":KEY"})
		}
	}
	rows = append(rows, []string{"NATS", at.NATS, ""}, []string{"Redis", at.Redis, ""}, []string{"data", dir, ""})
	if err := show.Table(p.Out, []show.Column{{Title: "part"}, {Title: "listens on"}, {Title: "for example"}}, rows); err != nil {
		return err
	}
	where := "--publisher " + at.Publisher + " --nats " + at.NATS
	if namespace != "" {
		where += " --namespace " + namespace
	}
	_, err := fmt.Fprintf(p.Out, "\nPublish a file:  %s publish %s FILE --wait %s\nChange records:  %s publish %s FILE --patch --wait %s\n"+
		"Watch:           %s status --watch %s --redis %s\nCtrl-C stops everything.\n",
		p.Command, name, where, p.Command, name, where, p.Command, where, at.Redis)
	return err
}
