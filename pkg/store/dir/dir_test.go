package dir_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
)

func open(t *testing.T, folder string) store.Store {
	t.Helper()
	st, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func put(t *testing.T, st store.Store, text string) dataset.Digest {
	t.Helper()
	d := dataset.Digest(sha256.Sum256([]byte(text)))
	if err := st.PutObject(t.Context(), d, int64(len(text)), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

func record(version uint64) dataset.VersionRecord {
	return dataset.VersionRecord{
		Dataset: "prices", Version: version, Created: time.Now().UTC(), Source: "test",
		Snapshot: dataset.Object{Version: version, Digest: dataset.Digest{1}, Bytes: 1},
	}
}

func commit(t *testing.T, st store.Store, versions ...uint64) {
	t.Helper()
	for _, v := range versions {
		if err := st.PutVersion(t.Context(), record(v)); err != nil {
			t.Fatal(err)
		}
	}
}

// files returns the contents of the files below the folder, by relative path.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	contents := map[string]string{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(folder, name))
		contents[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

func TestLayout(t *testing.T) {
	folder := t.TempDir()
	st := open(t, folder)
	d := put(t, st, "content")
	rec := record(1)
	if err := st.PutVersion(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	encoded, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"objects/" + d.String()[:2] + "/" + d.String(): "content",
		"versions/prices/00000000000000000001.json":    string(encoded),
	}
	got := files(t, folder)
	if len(got) != len(want) {
		t.Errorf("the files are %v", got)
	}
	for name, content := range want {
		if got[name] != content {
			t.Errorf("%s holds %q, want %q", name, got[name], content)
		}
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode().Perm()&0o222 != 0 {
			t.Errorf("%s can be written to: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestSweepsOnlyOldLeftovers(t *testing.T) {
	folder := t.TempDir()
	tmp := filepath.Join(folder, "tmp")
	if err := os.MkdirAll(filepath.Join(tmp, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"object-1-OLD": 25 * time.Hour, "version-2-OLD": 1000 * time.Hour, "object-3-NEW": 23 * time.Hour} {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, []byte("half of it"), 0o444); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	st := open(t, folder)
	if n := len(files(t, tmp)); n != 3 {
		t.Errorf("%d of 3 leftovers after an Open: a reader removes nothing", n)
	}
	put(t, st, "content")
	if left := files(t, tmp); len(left) != 1 || left["object-3-NEW"] == "" {
		t.Errorf("after an upload tmp holds %v, want the new leftover alone", left)
	}
	if _, err := os.Stat(filepath.Join(tmp, "folder")); err != nil {
		t.Error(err)
	}
}

func TestIgnoresOtherFiles(t *testing.T) {
	folder := t.TempDir()
	st := open(t, folder)
	commit(t, st, 1, 2)
	prices := filepath.Join(folder, "versions", "prices")
	for _, name := range []string{
		"README", "3.json", "00000000000000000003", "00000000000000000003.json.tmp", ".00000000000000000003.json",
		"+0000000000000000003.json", "00000000000000000000.json", "18446744073709551615.json", "99999999999999999999.json",
	} {
		if err := os.WriteFile(filepath.Join(prices, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"empty", "Not a name", ".git"} {
		if err := os.Mkdir(filepath.Join(folder, "versions", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "versions", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, st := range []store.Store{st, open(t, folder)} {
		if rec, err := st.Latest(t.Context(), "prices"); err != nil || rec.Version != 2 {
			t.Errorf("Latest: version %d, %v", rec.Version, err)
		}
		if names, err := st.Datasets(t.Context()); err != nil || !slices.Equal(names, []string{"prices"}) {
			t.Errorf("Datasets: %v, %v", names, err)
		}
	}
}

func TestFolderGoesBackInTime(t *testing.T) {
	folder := t.TempDir()
	st := open(t, folder)
	commit(t, st, 1, 2, 3, 4, 5)
	prices := filepath.Join(folder, "versions", "prices")
	for _, v := range []string{"4", "5"} { // as if an older copy of the store was restored
		if err := os.Remove(filepath.Join(prices, "0000000000000000000"+v+".json")); err != nil {
			t.Fatal(err)
		}
	}
	if rec, err := st.Latest(t.Context(), "prices"); err != nil || rec.Version != 3 {
		t.Errorf("Latest: version %d, %v; want 3", rec.Version, err)
	}
	commit(t, st, 4)
	if err := os.RemoveAll(filepath.Join(folder, "versions")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(folder, "tmp")); err != nil {
		t.Fatal(err)
	}
	if names, err := st.Datasets(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("Datasets: %v, %v", names, err)
	}
	commit(t, st, 1)
}

func TestReplacesADamagedObject(t *testing.T) {
	folder := t.TempDir()
	st := open(t, folder)
	d := put(t, st, "content")
	path := filepath.Join(folder, "objects", d.String()[:2], d.String())
	if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 3)); err != nil {
		t.Fatal(err)
	}
	put(t, st, "content")
	r, err := st.OpenObject(t.Context(), d, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil || b.String() != "content" {
		t.Errorf("it reads as %q, %v", &b, err)
	}
}
