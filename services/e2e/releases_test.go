package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// programsOf are the packages of the module services that TestMain and releases build.
var programsOf = []string{"./freshet", "./publisher/cmd/freshet-publisher", "./relay/cmd/freshet-relay", "./server/cmd/freshet-server"}

// release returns a folder with the programs of a release in scripts/releases. It builds them once from the repository's history and
// keeps them in dist/releases/<commit>.
func release(t *testing.T, name string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	commit, err := releaseCommit(root, name)
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(root, "dist", "releases", commit)
	if _, err := os.Stat(built); err == nil {
		return built
	}
	tmp := t.TempDir()
	source, programs := filepath.Join(tmp, "source"), filepath.Join(tmp, "programs")
	if err := checkOut(root, name, commit, source); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", programs + "/"}, programsOf...)...)
	build.Dir = filepath.Join(source, "services")
	build.Env = append(build.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build release %s, commit %s: %v\n%s", name, commit, err, out)
	}
	if err := keep(programs, built); err != nil {
		t.Fatalf("keep the programs of release %s: %v", name, err)
	}
	return built
}

// keep copies the folder to its place atomically, so that no process sees a part of it. It is no error if another process did so first.
func keep(folder, place string) error {
	if err := os.MkdirAll(filepath.Dir(place), 0o777); err != nil {
		return err
	}
	draft, err := os.MkdirTemp(filepath.Dir(place), "draft-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(draft)
	if err := os.CopyFS(draft, os.DirFS(folder)); err != nil {
		return err
	}
	if err := os.Chmod(draft, 0o755); err != nil {
		return err
	}
	if err := os.Rename(draft, place); err != nil {
		if _, there := os.Stat(place); there != nil {
			return err
		}
	}
	return nil
}

// ofEachRelease runs the test for each release in scripts/releases.
func ofEachRelease(t *testing.T, test func(t *testing.T, name string)) {
	t.Helper()
	all, err := releases(filepath.Join("..", ".."))
	if err != nil || len(all) == 0 {
		t.Fatalf("%d releases, %v", len(all), err)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { test(t, name) })
	}
}

// releases returns the commits in scripts/releases by name.
func releases(root string) (map[string]string, error) {
	file := filepath.Join(root, "scripts", "releases")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		switch fields := strings.Fields(line); {
		case len(fields) == 0:
		case len(fields) != 2 || len(fields[1]) != 40:
			return nil, fmt.Errorf("%s: %q is no release; want its name and its commit, all 40 hex digits", file, strings.TrimSpace(line))
		default:
			all[fields[0]] = fields[1]
		}
	}
	return all, nil
}

// releaseCommit returns the commit of the release in scripts/releases.
func releaseCommit(root, name string) (string, error) {
	all, err := releases(root)
	if err == nil && all[name] == "" {
		err = fmt.Errorf("%s names no release %s", filepath.Join(root, "scripts", "releases"), name)
	}
	return all[name], err
}

// checkOut writes the files of the release's commit to a new folder.
func checkOut(root, name, commit, folder string) error {
	if err := git(root, "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		return fmt.Errorf("release %s is commit %s, which the clone in %s does not have; if it is shallow, run: git fetch --unshallow", name, commit, root)
	}
	archive, err := git(root, "archive", commit).Output()
	if err != nil {
		return fmt.Errorf("read release %s, commit %s: %w", name, commit, err)
	}
	files := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = extract(files, h, folder)
		}
		if err != nil {
			return fmt.Errorf("unpack release %s, commit %s: %w", name, commit, err)
		}
	}
}

// extract writes a file or folder of an archive and skips other entries.
func extract(from io.Reader, h *tar.Header, folder string) error {
	name := filepath.Join(folder, filepath.FromSlash(h.Name))
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(name, 0o777)
	case tar.TypeReg:
		text, err := io.ReadAll(from)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		return os.WriteFile(name, text, h.FileInfo().Mode())
	}
	return nil
}

func git(folder string, args ...string) *exec.Cmd {
	return exec.Command("git", append([]string{"-C", folder}, args...)...)
}

// Invariant: a release that a shallow clone does not have is named, and what the message advises fetches it.
func TestReleaseIsNotInAShallowClone(t *testing.T) {
	const name = "v0.1"
	commit, err := releaseCommit("../..", name)
	if err != nil {
		t.Fatal(err)
	}
	clone, source := filepath.Join(t.TempDir(), "clone"), filepath.Join(t.TempDir(), "source")
	here, err := git("../..", "rev-parse", "--path-format=absolute", "--git-common-dir").Output()
	if err != nil {
		t.Fatal(err)
	}
	run := func(c *exec.Cmd) {
		t.Helper()
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c.Args, err, out)
		}
	}
	run(exec.Command("git", "clone", "-q", "--depth", "1", "file://"+strings.TrimSpace(string(here)), clone))
	const advice = "git fetch --unshallow"
	err = checkOut(clone, name, commit, source)
	if err == nil || !strings.Contains(err.Error(), commit) || !strings.Contains(err.Error(), advice) {
		t.Fatalf("a shallow clone: %v; want that it has no commit %s, and to run %q", err, commit, advice)
	}
	run(git(clone, strings.Fields(advice)[1:]...))
	if err := checkOut(clone, name, commit, source); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(source, "services", "go.mod")); err != nil {
		t.Error(err)
	}
}
