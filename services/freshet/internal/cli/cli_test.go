package cli

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is the outcome of a command.
type result struct {
	code     exit.Code
	out, err string
}

// run runs a command line in this process.
func run(ctx context.Context, env map[string]string, in string, args ...string) result {
	var out, errs bytes.Buffer
	code := Run(ctx, Process{
		In: strings.NewReader(in), Out: &out, Err: &errs, Command: "freshet",
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}, args)
	return result{code, out.String(), errs.String()}
}

// want fails the test unless the command exited with the code and printed each text. A text that begins with "!" must not be printed.
// The prefix "stdout:" or "stderr:" restricts the search to one output.
func (r result) want(t *testing.T, code exit.Code, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.err)
		return
	}
	for _, text := range texts {
		where := r.out + r.err
		if cut, ok := strings.CutPrefix(text, "stdout:"); ok {
			where, text = r.out, cut
		} else if cut, ok := strings.CutPrefix(text, "stderr:"); ok {
			where, text = r.err, cut
		}
		text, not := strings.CutPrefix(text, "!")
		if strings.Contains(where, text) == not {
			t.Errorf("printed %q: %v\nstdout: %s\nstderr: %s", text, not, r.out, r.err)
		}
	}
}

// freshet is a stack for commands.
type freshet struct {
	at  stack.Addresses
	env map[string]string
}

// start runs a stack for the test, with two instances, up-1 and up-2.
func start(t *testing.T, datasets ...string) freshet {
	t.Helper()
	// Before the cleanup below, because cleanups run in reverse order: the stack writes to the folder until it has stopped.
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan stack.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- stack.Run(ctx, stack.Config{
			Dir: dir, Host: "127.0.0.1", Instances: []string{"up-1", "up-2"}, Datasets: datasets,
			Log: slog.New(slog.DiscardHandler),
		}, func(ctx context.Context, at stack.Addresses) error {
			ready <- at
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil && !t.Failed() {
			t.Errorf("the stack's folder is gone while it runs: %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the stack failed: %v", err)
		}
	})
	select {
	case at := <-ready:
		return freshet{at, map[string]string{
			"FRESHET_PUBLISHER_URL": at.Publisher, "FRESHET_SERVER_URL": at.Instances[0].URL, "FRESHET_NATS_URL": at.NATS,
			"FRESHET_REDIS_URL": at.Redis,
		}}
	case err := <-ended:
		ended <- err
		t.Fatalf("the stack does not start: %v", err)
		return freshet{}
	}
}

// run runs a command line against the stack.
func (f freshet) run(t *testing.T, args ...string) result {
	t.Helper()
	return run(t.Context(), f.env, "", args...)
}

// file writes a file and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
