// Package program is the frame of the services' commands: settings, help, log, stop and exit codes.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"freshet.dev/pkg/catalog"
	"freshet.dev/services/internal/build"
	"freshet.dev/services/internal/settings"
)

// The exit codes of every service's command.
const (
	OK       = 0 // stopped by the end of the context
	Failed   = 1 // cannot start or continue; the log has the reason
	BadUsage = 2 // a setting or an argument is wrong
)

// Config is a service's configuration: a pointer to a struct with the tags of envconfig.
type Config interface {
	// Validate returns an error that names each variable with a wrong value.
	Validate() error
}

// Program is one service's command.
type Program struct {
	Name    string
	Summary string
	Config  Config
	// Level returns the log level in Config. Main calls it after loading Config.
	Level func() slog.Level
	// Outside returns how many bytes of memory the program takes in addition to the Go heap, by Config; nil for none. GOMEMLIMIT, which is
	// set from the container's limit, leaves them out.
	Outside func() int64
	// Run opens the service's dependencies, runs the service until ctx ends, and closes them.
	Run func(ctx context.Context, log *slog.Logger) error
}

// Main runs the program until ctx ends and returns its exit code. Main handles no signals. The log goes to stderr as JSON, help to
// stdout.
func (p Program) Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {}
	version := flags.Bool("version", false, "print the version and exit")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		p.help(stdout)
		return OK
	case err != nil:
		return BadUsage // package flag has printed the reason
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "%s takes no arguments, only FRESHET_ variables; see %s --help\n", p.Name, p.Name)
		return BadUsage
	case *version:
		fmt.Fprintf(stdout, "%s %s\n", p.Name, build.Read())
		return OK
	}
	warnings, err := settings.Load(p.Config)
	if err == nil {
		err = p.Config.Validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return BadUsage
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: p.Level()})).With("service", p.Name)
	catalog.LogTo(log)
	for _, w := range warnings {
		log.WarnContext(ctx, w)
	}
	limitMemory(memlimit.FromCgroup, p.outside()).log(ctx, log)
	if err := p.Run(ctx, log); err != nil {
		log.ErrorContext(context.WithoutCancel(ctx), "failed", "error", err.Error())
		if errors.Is(err, settings.ErrSettings) {
			return BadUsage
		}
		return Failed
	}
	return OK
}

func (p Program) help(w io.Writer) {
	fmt.Fprintf(w, "%s %s\n\nUsage: %s [--version] [--help]\n\nSettings, from the environment:\n", p.Name, p.Summary, p.Name)
	if err := settings.Usage(w, p.Config); err != nil {
		fmt.Fprintln(w, err)
	}
	if err := backendHelp(w, p.Config); err != nil {
		fmt.Fprintln(w, err)
	}
	fmt.Fprintln(w, "\nExit codes: 0 stopped by SIGINT or SIGTERM, 1 failed, 2 a setting or an argument is wrong.")
}
