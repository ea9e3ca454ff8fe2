// Command freshet is the command line: it publishes, looks up and shows, and runs everything in one process. See
// `freshet --help`, which also lists the exit codes.
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
	catalog.LogTo(slog.New(slog.DiscardHandler)) // what is to be known of Redis is in the command's own message
	code := cli.Run(ctx, cli.Process{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, LookupEnv: os.LookupEnv, Command: command(),
	}, os.Args[1:])
	os.Exit(int(code))
}

// command returns how this program is started from the current folder, for commands that are printed to be pasted.
// What `go run` starts lies in a folder that is gone afterwards, so in the repository's root it is `go run` again.
func command() string {
	if _, err := os.Stat("services/freshet/main.go"); err == nil {
		return "go run ./services/freshet"
	}
	return os.Args[0]
}
