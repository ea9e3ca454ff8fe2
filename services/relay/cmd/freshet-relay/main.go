// Command freshet-relay runs a relay. Its settings come from the environment; --help lists them.
//
// Exit codes: 0 stopped by SIGINT or SIGTERM, 1 failed, 2 a setting or an argument is wrong.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"freshet.dev/services/internal/program"
	"freshet.dev/services/relay"
)

// gcPercent lets the Go heap grow by half, and not to twice what is in use. Objects lie outside of the heap. The heap has
// some 60 KiB for each response, is cheap to collect, and must fit into the memory that the cache leaves.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	var cfg relay.Config
	os.Exit(program.Program{
		Name:    "freshet-relay",
		Summary: "serves objects and newest versions, between instances and the store.",
		Config:  &cfg,
		Level:   func() slog.Level { return cfg.LogLevel },
		Outside: cfg.OutsideBytes,
		Run:     program.Service(&cfg, relay.Open, relay.New),
	}.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
