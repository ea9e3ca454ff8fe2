package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Invariant: the README's lines make a new module outside the repository that builds, looks a record up in `freshet up`, and
// has metrics.
func TestNewModule(t *testing.T) {
	up := begin(t, "up", "prices", "--dir", t.TempDir(),
		"--nats-port", "0", "--redis-port", "0", "--publisher-port", "0", "--relay-port", "0", "--server-port", "0")
	urls := map[string]string{}
	for up.lines.Scan() && !strings.HasPrefix(up.lines.Text(), "Ctrl-C") {
		if f := strings.Fields(up.lines.Text()); len(f) >= 2 {
			urls[f[0]] = f[1]
		}
	}
	defer func() {
		if err := up.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if _, code := up.end(t); code != 0 {
			t.Errorf("freshet up: exit code %d: %s", code, up.stderr.String())
		}
	}()
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "shop")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(parent, "freshet")); err != nil { // for a clone
		t.Fatal(err)
	}
	run := func(script string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "FRESHET_PUBLISHER_URL="+urls["publisher"], "FRESHET_NATS_URL="+urls["NATS"])
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v in\n%s\n%s", err, script, out)
		}
		return string(out)
	}
	_, code := blocks(t, readmeFile, "example")
	source := `package main

import (
	"context"
	"fmt"
	"time"

	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/prom"
	"github.com/prometheus/client_golang/prometheus"
)

const natsURL = "` + urls["NATS"] + `"

var relay = struct{ URL string }{"` + urls["relay"] + `"}

func main() {
` + code[0] + `
	families, err := registry.Gather()
	for _, f := range families {
		fmt.Println(f.GetName())
	}
	fmt.Println(err)
}
`
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	run(`printf '%s\n' '{"sku":"A1","cents":995}' '{"sku":"B/2","cents":1250}' | freshet publish prices - --key sku --wait`)
	_, commands := blocks(t, readmeFile, "module")
	run(commands[0])
	printed := run("go run .")
	for _, want := range []string{`{"sku":"A1","cents":995} true <nil>`, "version 1 of 2 records", "freshet_dataset_state", "freshet_refreshes_total"} {
		if !strings.Contains(printed, want) {
			t.Errorf("the program printed no %q:\n%s", want, printed)
		}
	}
}
