// Command freshet is the command line of freshet. It publishes datasets, looks up records, shows versions and instances, and runs all
// services in one process. `freshet --help` lists the commands and exit codes.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"freshet.dev/pkg/catalog"
	"freshet.dev/services/freshet/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)                 // a second signal ends the process at once
	catalog.LogTo(slog.New(slog.DiscardHandler)) // a command's own message has the error of Redis
	code := cli.Run(ctx, cli.Process{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, LookupEnv: os.LookupEnv, Environ: os.Environ(), Command: command(),
	}, os.Args[1:])
	os.Exit(int(code))
}

// command returns how to start this program from the current folder, for the commands that it prints. In the repository's root that
// is `go run`, which deletes its binary afterwards.
func command() string {
	if _, err := os.Stat("services/freshet/main.go"); err == nil {
		return "go run ./services/freshet"
	}
	return os.Args[0]
}
