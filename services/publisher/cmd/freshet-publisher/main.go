// Command freshet-publisher runs a publisher. Its settings come from the environment; --help lists them.
//
// Exit codes: 0 stopped as told by SIGINT or SIGTERM, 1 failed, 2 a setting or an argument is wrong.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"freshet.dev/services/internal/program"
	"freshet.dev/services/publisher"
)

// gcPercent lets the Go heap grow by half and not to twice what is in use. Most of what a publish holds are records as bytes, in
// which the collector has nothing to scan.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	var cfg publisher.Config
	os.Exit(program.Program{
		Name:    "freshet-publisher",
		Summary: "takes records over HTTP and publishes them as versions of datasets.",
		Config:  &cfg,
		Level:   func() slog.Level { return cfg.LogLevel },
		Run:     program.Service(&cfg, publisher.Open, publisher.New),
	}.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
