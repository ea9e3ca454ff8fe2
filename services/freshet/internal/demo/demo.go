// Package demo shows freshet at work on real data in one process: it runs the whole stack on loopback, publishes
// successive releases of a dataset over HTTP as a pipeline would, and prints what the instances report. It uses
// nothing that a user's own programs could not.
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

// Config says how to run the demo.
type Config struct {
	// Dir is the folder to make the demo's own folder in; empty means [os.TempDir].
	Dir string
	// Ports are the ports to listen on.
	Ports stack.Ports
	// Namespace is that of all services; empty is the default one.
	Namespace string
	// Exit ends the demo when everything is shown; otherwise it runs until the context ends.
	Exit bool
	// Command is how this program is started: what the printed commands begin with.
	Command string
}

// instances are the names of the demo's instances.
var instances = []string{"demo-1", "demo-2", "demo-3"}

// Run runs the demo and prints to out. All it made is gone when it returns. If ctx ends once everything is shown,
// that is how a demo ends, and no error.
func Run(ctx context.Context, cfg Config, out io.Writer) (err error) {
	dir, err := os.MkdirTemp(cfg.Dir, "freshet-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w; --dir names a folder that can be written", err)
	}
	defer func() {
		if left := os.RemoveAll(dir); left != nil {
			err = errors.Join(err, fmt.Errorf("remove the demo's folder: %w", left))
		}
	}()
	logFile, err := os.Create(filepath.Join(dir, "log.ndjson"))
	if err != nil {
		return fmt.Errorf("make the demo's log: %w", err)
	}
	defer logFile.Close() //nolint:errcheck // it is removed next
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
