// Package program is what the services' commands have in common: settings, help, the log, stopping, exit codes.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"freshet.dev/pkg/catalog"
	"freshet.dev/services/internal/settings"
)

// The exit codes of every service's command.
const (
	OK       = 0 // stopped because it was told to
	Failed   = 1 // it could not start or go on; the log says why
	BadUsage = 2 // a setting or an argument is wrong
)

// Config is a service's configuration: a pointer to a struct in envconfig's form.
type Config interface {
	// Validate names the variable that is wrong.
	Validate() error
}

// Program is one service's command.
type Program struct {
	Name    string
	Summary string
	Config  Config
	// Level returns the log level that Config asks for, once it is loaded.
	Level func() slog.Level
	// Run acquires what the service needs, runs it until ctx ends, and releases it.
	Run func(ctx context.Context, log *slog.Logger) error
}

// Main runs the program and returns its exit code. It takes no signals: ctx ends when the program shall stop. The log goes to stderr
// as JSON, help to stdout.
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
		return BadUsage // the flag package has said why
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "%s takes no arguments, only settings in the environment; see %s --help\n", p.Name, p.Name)
		return BadUsage
	case *version:
		fmt.Fprintf(stdout, "%s %s\n", p.Name, buildVersion())
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
	fmt.Fprintln(w, "\nExit codes: 0 stopped as told by SIGINT or SIGTERM, 1 failed, 2 a setting or an argument is wrong.")
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			version += " " + s.Value
		}
	}
	return version
}
