package e2e

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

// operator runs the command line against a system whose store is a folder.
type operator struct {
	t     *testing.T
	s     *system
	name  string // of the dataset
	store string
	// content and version are what every instance must serve, before is the content before.
	content, before map[string]string
	version         uint64
	// pinned are the instances that hold another version.
	pinned map[*program]held
}

// held is what a pinned instance serves.
type held struct {
	version uint64
	content map[string]string
}

// command returns the command, which writes to out and errs.
func (o *operator) command(ctx context.Context, out, errs io.Writer, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "freshet"), args...)
	cmd.Env = append(cmd.Environ(), "FRESHET_PUBLISHER_URL="+o.s.Publisher.URL, "FRESHET_NATS_URL="+o.s.NATS.URL, "FRESHET_SERVER_URL="+o.s.Instances[0].URL, "FRESHET_NAMESPACE=")
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd
}

// freshet runs the command, which must end with the exit code, and returns what it prints to stdout, and to
// stderr if it fails.
func (o *operator) freshet(want int, args ...string) string {
	o.t.Helper()
	out, errs := o.prints(want, args...)
	if want != 0 {
		return out + errs
	}
	return out
}

// prints runs the command, which must end with the exit code, and returns what it prints to stdout and stderr.
func (o *operator) prints(want int, args ...string) (string, string) {
	o.t.Helper()
	var out, errs strings.Builder
	err := o.command(o.t.Context(), &out, &errs, args...).Run()
	if code := exitCode(err); code != want {
		o.t.Fatalf("freshet %q ended with %d, want %d (%v):\n%s%s", args, code, want, err, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// shows runs the command and checks that it prints the texts.
func (o *operator) shows(code int, texts []string, args ...string) {
	o.t.Helper()
	out, errs := o.prints(code, args...)
	for _, text := range texts {
		if !strings.Contains(out+errs, text) {
			o.t.Errorf("freshet %q does not print %q:\n%s%s", args, text, out, errs)
		}
	}
}

// serve checks all keys of every instance: version has content from now on. A pinned instance has what it holds.
func (o *operator) serve(version uint64, content map[string]string) {
	o.t.Helper()
	if version != o.version {
		o.before, o.content, o.version = o.content, content, version
	}
	for _, instance := range o.s.Instances {
		if h, ok := o.pinned[instance]; ok {
			awaitVersion(o.t, instance, o.name, h.version)
			checkAll(o.t, instance, o.name, h.version, h.content, o.content)
			continue
		}
		awaitVersion(o.t, instance, o.name, version)
		checkAll(o.t, instance, o.name, version, content, o.before)
	}
}

// same checks that a refused command has changed nothing.
func (o *operator) same() { o.t.Helper(); o.serve(o.version, o.content) }

// file writes the lines into a file.
func (o *operator) file(name string, lines []byte) string {
	o.t.Helper()
	path := filepath.Join(o.t.TempDir(), name)
	if err := os.WriteFile(path, lines, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// object returns the path of an object in the store's folder.
func (o *operator) object(digest dataset.Digest) (path string) {
	o.t.Helper()
	err := filepath.WalkDir(o.store, func(at string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.Contains(e.Name(), digest.String()) {
			path = at
		}
		return err
	})
	if err != nil || path == "" {
		o.t.Fatalf("the store has no object %s: %v", strconv.Quote(digest.String()), err)
	}
	return path
}

// flip inverts a bit in the middle of the file.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
