package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/servertest"
	"go.etcd.io/gofail/code"
)

// failpointMark begins the comments that become failpoints in the programs of buildFailpoints only.
const failpointMark = "// gofail:"

// buildFailpoints builds the publisher and the server with their failpoints once and returns the folder. The product's files stay
// unchanged: go build's -overlay replaces them by files in a temporary folder. Only this module requires the runtime of the failpoints;
// the workspace provides it to the other modules.
var buildFailpoints = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(bin, "failpoints")
	overlay, err := overlayFailpoints(root, filepath.Join(dir, "source"))
	if err != nil {
		return "", fmt.Errorf("rewrite the failpoints: %w", err)
	}
	file := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-overlay", file, "-o", dir, "./publisher/cmd/freshet-publisher", "./server/cmd/freshet-server")
	build.Dir = filepath.Join(root, "services")
	build.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs with failpoints: %w\n%s", err, out)
	}
	return dir, nil
})

// overlayFailpoints writes every file of the product that has failpoints to dir, with the failpoints enabled, and their declarations
// next to it. It returns the replacements by path.
func overlayFailpoints(root, dir string) (map[string]string, error) {
	overlay := map[string]string{}
	write := func(path string, text []byte) error {
		to := filepath.Join(dir, strconv.Itoa(len(overlay))+".go")
		overlay[path] = to
		return os.WriteFile(to, text, 0o600)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	rewrite := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(failpointMark)) {
			return err
		}
		var with, declared bytes.Buffer
		all, err := code.ToFailpoints(&with, bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := write(path, with.Bytes()); err != nil {
			return err
		}
		clause, err := parser.ParseFile(token.NewFileSet(), path, text, parser.PackageClauseOnly)
		if err != nil {
			return err
		}
		if err := code.NewBinding(clause.Name.Name, all).Write(&declared); err != nil {
			return err
		}
		return write(strings.TrimSuffix(path, ".go")+".fail.go", declared.Bytes())
	}
	for _, module := range []string{"pkg", "services"} {
		if err := filepath.WalkDir(filepath.Join(root, module), rewrite); err != nil {
			return nil, err
		}
	}
	if len(overlay) == 0 {
		return nil, errors.New("there is none: has the way to write one changed?")
	}
	return overlay, nil
}

// failpoints are the failpoints of one program, which are set over HTTP.
type failpoints struct{ url string }

// prepareFailing is prepare for a program with failpoints.
func prepareFailing(t *testing.T, name string, settings ...string) (*program, failpoints) {
	t.Helper()
	dir, err := buildFailpoints()
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + strconv.Itoa(servertest.FreePort(t))
	return prepareIn(t, dir, name, []string{"GOFAIL_HTTP=" + addr}, settings...), failpoints{url: "http://" + addr}
}

// arm sets the failpoint to the term (see go.etcd.io/gofail) for the life of the process.
func (f failpoints) arm(t *testing.T, name, term string) {
	t.Helper()
	status, _, body, err := do(t.Context(), http.MethodPut, f.url+"/"+name, "", []byte(term))
	if err != nil || status != http.StatusNoContent {
		t.Fatalf("arm the failpoint %s with %s: %d %s %v", name, term, status, body, err)
	}
}

// disarm undoes arm. A goroutine that is blocked at the failpoint stays blocked.
func (f failpoints) disarm(t *testing.T, name string) {
	t.Helper()
	status, _, body, err := do(t.Context(), http.MethodDelete, f.url+"/"+name, "", nil)
	if err != nil || status != http.StatusNoContent {
		t.Fatalf("disarm the failpoint %s: %d %s %v", name, status, body, err)
	}
}

// stand is the term of a failpoint that blocks.
const stand = "sleep(600000)"

// stands waits until the program is blocked at the failpoint.
func (f failpoints) stands(t *testing.T, name string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		n, err := f.hits(ctx, name)
		if err == nil && n == 0 {
			err = fmt.Errorf("the program does not come to the failpoint %s", name)
		}
		return err
	})
}

// hits returns how often the program reached the failpoint since it was armed.
func (f failpoints) hits(ctx context.Context, name string) (int, error) {
	status, _, body, err := do(ctx, http.MethodGet, f.url+"/"+name+"/count", "", nil)
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("the failpoint %s: %d %s", name, status, body)
	}
	return strconv.Atoi(string(body))
}

// setClock moves the wall clock that a program with failpoints sees, ahead or, if d is negative, back.
func (f failpoints) setClock(t *testing.T, d time.Duration) {
	t.Helper()
	f.arm(t, "clockAhead", fmt.Sprintf("return(%q)", d.String()))
}

// Invariant: what is shipped has no failpoints; what the fault suite runs is the same source with them.
func TestFailpointsAreBuiltIntoTestsOnly(t *testing.T) {
	with, err := buildFailpoints()
	if err != nil {
		t.Fatal(err)
	}
	const runtime = "go.etcd.io/gofail"
	for _, name := range []string{"freshet", "freshet-publisher", "freshet-relay", "freshet-server"} {
		if symbols(t, filepath.Join(bin, name), runtime) {
			t.Errorf("%s has failpoints", name)
		}
	}
	for _, name := range []string{"freshet-publisher", "freshet-server"} {
		if !symbols(t, filepath.Join(with, name), runtime) {
			t.Errorf("%s, built to have failpoints, has none", name)
		}
	}
}

// symbols reports whether the program's symbol table, or the list of modules in it, names what.
func symbols(t *testing.T, path, what string) bool {
	t.Helper()
	table, err := exec.Command("go", "tool", "nm", path).Output()
	if err != nil {
		t.Fatalf("list the symbols of %s: %v", path, err)
	}
	modules, err := exec.Command("go", "version", "-m", path).Output()
	if err != nil {
		t.Fatalf("list the modules of %s: %v", path, err)
	}
	return bytes.Contains(table, []byte(what)) || bytes.Contains(modules, []byte(what))
}
