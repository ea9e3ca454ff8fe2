// Command freshet-server runs an instance with lookups over HTTP. Its settings come from the environment; --help lists them.
//
// Exit codes: 0 stopped by SIGINT or SIGTERM, 1 failed, 2 a setting or an argument is wrong.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"freshet.dev/services/internal/program"
	"freshet.dev/services/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills the process
	var cfg server.Config
	os.Exit(program.Program{
		Name:    "freshet-server",
		Summary: "keeps datasets in memory, always at their newest version, and answers lookups over HTTP.",
		Config:  &cfg,
		Level:   func() slog.Level { return cfg.LogLevel },
		Run:     program.Service(&cfg, server.Open, server.New),
	}.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
