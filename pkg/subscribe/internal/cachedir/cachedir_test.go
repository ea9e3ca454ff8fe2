package cachedir

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/gofrs/flock"
)

func object(version uint64) (dataset.Object, []byte) {
	content := bytes.Repeat(fmt.Appendf(nil, "object %d,", version), 1000)
	return dataset.Object{Version: version, Digest: sha256.Sum256(content), Bytes: int64(len(content))}, content
}

func record(name string, version uint64) dataset.VersionRecord {
	o, _ := object(version)
	return dataset.VersionRecord{Dataset: name, Version: version, Snapshot: o, Created: time.Unix(1, 0).UTC()}
}

// put writes a version as a refresh does.
func put(d *Dir, name string, version uint64) error {
	draft := d.Draft(name)
	defer draft.Drop()
	o, content := object(version)
	w := draft.Object(o)
	for piece := range slices.Chunk(content, 777) {
		if n, err := w.Write(piece); n != len(piece) || err != nil {
			return fmt.Errorf("the draft's writer returned %d, %v", n, err)
		}
	}
	return draft.Commit(record(name, version))
}

func mustPut(t *testing.T, d *Dir, name string, version uint64) {
	t.Helper()
	if err := put(d, name, version); err != nil {
		t.Fatal(err)
	}
}

// check fails unless exactly this version is stored.
func check(t *testing.T, d *Dir, name string, version uint64) {
	t.Helper()
	s, err := d.Stored(name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, want := object(version)
	got, err := io.ReadAll(s.Objects[0])
	if err != nil || !bytes.Equal(got, want) || s.Record.Version != version || len(s.Objects) != 1 {
		t.Fatalf("got version %d with %d objects of %d bytes, %v; want version %d", s.Record.Version, len(s.Objects), len(got), err, version)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestCommitReplacesThePreviousVersion(t *testing.T) {
	root := filepath.Join(t.TempDir(), "not", "there", "yet")
	d := New(root)
	defer d.Close()
	if _, err := d.Stored("prices"); !errors.Is(err, ErrNone) {
		t.Fatalf("an empty folder: got %v, want ErrNone", err)
	}
	for v := range uint64(3) {
		mustPut(t, d, "prices", v+1)
		check(t, d, "prices", v+1)
	}
	mustPut(t, d, "prices", 3) // the same objects again
	check(t, d, "prices", 3)
	o, _ := object(3)
	want := []string{".lock", "prices/" + o.Digest.String() + ".object", "prices/version.json"}
	if got := files(t, root); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
}

func TestCommitKeepsObjectsThatTheRecordStillNames(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	mustPut(t, d, "prices", 1)
	rec := record("prices", 1)
	o, content := object(2)
	rec.Version, rec.Deltas = 2, []dataset.Object{o}
	draft := d.Draft("prices")
	defer draft.Drop()
	draft.Object(o).Write(content)
	if err := draft.Commit(rec); err != nil {
		t.Fatal(err)
	}
	s, err := d.Stored("prices")
	if err != nil || len(s.Objects) != 2 {
		t.Fatalf("got %v, %v; want the snapshot and the delta", s, err)
	}
	s.Close()

	rec.Version, rec.Deltas = 3, append(rec.Deltas, record("prices", 3).Snapshot)
	bad := d.Draft("prices")
	defer bad.Drop()
	if err := bad.Commit(rec); err == nil || !strings.Contains(err.Error(), "an object is missing") {
		t.Errorf("a record that names a missing object: got %v", err)
	}
}

func TestDroppedDraftLeavesNothing(t *testing.T) {
	root := t.TempDir()
	d := New(root)
	defer d.Close()
	mustPut(t, d, "prices", 1)
	before := files(t, root)
	draft := d.Draft("prices")
	o, content := object(2)
	draft.Object(o).Write(content)
	draft.Drop()
	if err := draft.Commit(record("prices", 2)); err == nil {
		t.Error("a dropped draft was committed")
	}
	short := d.Draft("prices")
	short.Object(o).Write(content[1:])
	if err := short.Commit(record("prices", 2)); err == nil {
		t.Error("a draft without all bytes was committed")
	}
	short.Drop()
	if got := files(t, root); !slices.Equal(got, before) {
		t.Errorf("the folder has %q, want %q", got, before)
	}
	check(t, d, "prices", 1)
}

func TestWriteErrorIsReturnedByCommitOnly(t *testing.T) {
	root := t.TempDir()
	d := New(root)
	defer d.Close()
	mustPut(t, d, "prices", 1)
	before := files(t, root)

	draft := d.Draft("prices")
	defer draft.Drop()
	o, content := object(2)
	w := draft.Object(o)
	d.SetDisk(Disk{Free: endless, Create: func(dir, pattern string) (*os.File, error) {
		f, err := os.CreateTemp(dir, pattern)
		if err == nil {
			err = f.Close() // every later write to the file fails, as on a full disk
		}
		return f, err
	}})
	for range 100 {
		if n, err := w.Write(content); n != len(content) || err != nil {
			t.Fatalf("Write returned %d, %v; a cache that fails must not stop a refresh", n, err)
		}
	}
	if got := files(t, root); !slices.Equal(got, before) {
		t.Errorf("after the error the folder has %q, want %q", got, before)
	}
	if err := draft.Commit(record("prices", 2)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Commit returned %v, want the write's error", err)
	}
	check(t, d, "prices", 1)
}

func TestFolderThatCannotBeCreated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := New(filepath.Join(file, "cache"))
	defer d.Close()
	if err := put(d, "prices", 1); err == nil || !strings.Contains(err.Error(), "make the cache folder") {
		t.Errorf("got %v, want an error about the folder", err)
	}
	if err := d.Clean([]string{"prices"}); err == nil {
		t.Error("Clean returned no error")
	}
}

func TestDamageIsDetected(t *testing.T) {
	o, _ := object(1)
	objectFile, recordFile := "prices/"+o.Digest.String()+".object", "prices/version.json"
	for name, damage := range map[string]func(root string) error{
		"object truncated": func(root string) error { return os.Truncate(filepath.Join(root, objectFile), o.Bytes-1) },
		"object missing":   func(root string) error { return os.Remove(filepath.Join(root, objectFile)) },
		"record truncated": func(root string) error { return os.Truncate(filepath.Join(root, recordFile), 20) },
		"record empty":     func(root string) error { return os.Truncate(filepath.Join(root, recordFile), 0) },
		"record of another": func(root string) error {
			text, _ := record("rules", 1).Encode()
			return os.WriteFile(filepath.Join(root, recordFile), text, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			d := New(root)
			defer d.Close()
			mustPut(t, d, "prices", 1)
			if err := damage(root); err != nil {
				t.Fatal(err)
			}
			if s, err := d.Stored("prices"); !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, %v; want ErrDamaged", s, err)
			}
			if err := d.Discard("prices"); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Stored("prices"); !errors.Is(err, ErrNone) {
				t.Fatalf("after Discard: got %v, want ErrNone", err)
			}
			mustPut(t, d, "prices", 2)
			check(t, d, "prices", 2)
		})
	}
}

func TestCleanRemovesLeftoversAndNothingElse(t *testing.T) {
	root := t.TempDir()
	d := New(root)
	mustPut(t, d, "prices", 1)
	mustPut(t, d, "gone", 1)
	d.Close()
	o1, _ := object(1)
	o2, _ := object(2)
	for _, file := range []string{
		"prices/new-123.tmp", "prices/" + o2.Digest.String() + ".object", // a process died while it wrote a draft
		"rules/" + o2.Digest.String() + ".object", // and another before its first record
		"notes.txt", "prices/notes.txt", "Other/version.json", "gone/sub/version.json", // not files of the cache
	} {
		path := filepath.Join(root, file)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d = New(root)
	defer d.Close()
	if err := d.Clean([]string{"prices", "rules"}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		".lock", "Other/version.json", "gone/sub/version.json", "notes.txt",
		"prices/" + o1.Digest.String() + ".object", "prices/notes.txt", "prices/version.json",
	}
	if got := files(t, root); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(root, "rules")); err == nil {
		t.Error("the empty folder of rules still exists")
	}
	check(t, d, "prices", 1)
}

func TestSecondProcessReadsUntilTheFirstEnds(t *testing.T) {
	root := t.TempDir()
	first, second := New(root), New(root)
	defer second.Close()
	mustPut(t, first, "prices", 1)
	check(t, second, "prices", 1)
	for what, err := range map[string]error{
		"write": put(second, "prices", 2), "clean": second.Clean(nil), "discard": second.Discard("prices"),
	} {
		if !errors.Is(err, ErrShared) {
			t.Errorf("%s: got %v, want ErrShared", what, err)
		}
	}
	check(t, first, "prices", 1)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	mustPut(t, second, "prices", 2)
	check(t, second, "prices", 2)
}

// A dataset may be called lock, like the lock file of v0.1. While a process of that release holds the folder, writes fail with ErrShared.
func TestDatasetCalledLock(t *testing.T) {
	root := t.TempDir()
	old := flock.New(filepath.Join(root, "lock"))
	if ok, err := old.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	d := New(root)
	defer d.Close()
	for range 2 {
		if err := put(d, "prices", 1); !errors.Is(err, ErrShared) {
			t.Errorf("got %v, want ErrShared", err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	for v := range uint64(2) {
		mustPut(t, d, "lock", v+1)
		check(t, d, "lock", v+1)
	}
}
