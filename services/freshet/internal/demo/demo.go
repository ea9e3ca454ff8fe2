// Package demo shows freshet on real data in one process. It runs the whole stack on loopback, publishes successive releases of a
// dataset over HTTP, as a pipeline does, and prints the reports of the instances. It uses only public interfaces.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"freshet.dev/services/freshet/internal/stack"
)

// Dataset is the name under which the demo's data is published.
const Dataset = "browser-compat"

// Config configures the demo.
type Config struct {
	// Dir is the folder in which the demo creates its temporary folder; empty means [os.TempDir].
	Dir string
	// Ports are the ports to listen on.
	Ports stack.Ports
	// Namespace is the namespace of all services; empty is the default namespace.
	Namespace string
	// Exit ends the demo after its output; otherwise the demo runs until the context ends.
	Exit bool
	// Command is how to start this program. It begins the printed commands.
	Command string
}

// instances are the names of the demo's instances.
var instances = []string{"demo-1", "demo-2", "demo-3"}

// Run runs the demo and prints to out. It removes its files before it returns. It returns nil if ctx ends after the whole output,
// and an error if ctx ends before.
func Run(ctx context.Context, cfg Config, out io.Writer) (err error) {
	dir, err := os.MkdirTemp(cfg.Dir, "freshet-demo-")
	if err != nil {
		return fmt.Errorf("create a folder for the demo: %w; choose a writable folder with --dir", err)
	}
	defer func() {
		if left := os.RemoveAll(dir); left != nil {
			err = errors.Join(err, fmt.Errorf("remove the demo's folder: %w", left))
		}
	}()
	logFile, err := os.Create(filepath.Join(dir, "log.ndjson"))
	if err != nil {
		return fmt.Errorf("create the demo's log: %w", err)
	}
	defer logFile.Close() //nolint:errcheck // the file is removed next
	all, err := releases()
	if err != nil {
		return err
	}
	s := stack.Config{
		Dir: dir, Host: "127.0.0.1", Ports: cfg.Ports, Namespace: cfg.Namespace, Instances: instances, Datasets: []string{Dataset},
		Log: slog.New(slog.NewJSONHandler(logFile, nil)),
	}
	return stack.Run(ctx, s, func(ctx context.Context, at stack.Addresses) error {
		p := &presenter{cfg: cfg, dir: dir, at: at, out: out}
		if err := p.present(ctx, all); err != nil {
			return err
		}
		if cfg.Exit {
			return nil
		}
		if err := p.suggest(all); err != nil {
			return err
		}
		<-ctx.Done()
		p.printf("\nStopped; %s is removed.\n", dir)
		return p.err
	})
}
