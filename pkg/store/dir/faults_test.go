//go:build unix

package dir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
)

func TestDamagedRecords(t *testing.T) {
	good, err := record(2).Encode()
	if err != nil {
		t.Fatal(err)
	}
	first, err := record(1).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string]func(path string) error{
		"empty":           func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"cut":             func(path string) error { return os.WriteFile(path, good[:len(good)-1], 0o600) },
		"zeros":           func(path string) error { return os.WriteFile(path, make([]byte, len(good)), 0o600) },
		"twice":           func(path string) error { return os.WriteFile(path, append(bytes.Clone(good), good...), 0o600) },
		"another version": func(path string) error { return os.WriteFile(path, first, 0o600) },
		"huge":            func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte{' '}, 2<<20), 0o600) },
		"folder":          func(path string) error { return os.Mkdir(path, 0o700) },
		"link":            func(path string) error { return os.Symlink("00000000000000000001.json", path) },
		"pipe":            func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			folder := t.TempDir()
			st := open(t, folder)
			commit(t, st, 1, 2, 3)
			path := filepath.Join(folder, "versions", "prices", "00000000000000000002.json")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			_, err := st.Version(t.Context(), "prices", 2)
			wantMessage(t, err, store.ErrDamaged, "prices", "version 2", path)
			recs, err := st.Versions(t.Context(), "prices", 0, 10)
			wantMessage(t, err, store.ErrDamaged, "prices", "version 2", path)
			if len(recs) != 2 || recs[0].Version != 3 || recs[1].Version != 1 {
				t.Errorf("with the error come %d records, want those of versions 3 and 1", len(recs))
			}
			if all, ok := errors.AsType[store.RecordErrors](err); !ok || len(all) != 1 || all[0].Dataset != "prices" || all[0].Version != 2 || all[0].Place != path {
				t.Errorf("the error is %#v, want one about version 2", err)
			}
			if recs, err := st.Versions(t.Context(), "prices", 0, 2); len(recs) != 1 || err == nil {
				t.Errorf("of two versions come %d records and %v, want one and an error", len(recs), err)
			}
			if err := os.Remove(filepath.Join(filepath.Dir(path), "00000000000000000003.json")); err != nil {
				t.Fatal(err)
			}
			_, err = st.Latest(t.Context(), "prices")
			wantMessage(t, err, store.ErrDamaged, "prices", "version 2", path)
			wantMessage(t, st.PutVersion(t.Context(), record(2)), store.ErrExists)
		})
	}
}

func TestMissingRecord(t *testing.T) {
	folder := t.TempDir()
	st := open(t, folder)
	commit(t, st, 1, 2, 3)
	if err := os.Remove(filepath.Join(folder, "versions", "prices", "00000000000000000002.json")); err != nil {
		t.Fatal(err)
	}
	recs, err := st.Versions(t.Context(), "prices", 0, 10)
	wantMessage(t, err, store.ErrDamaged, "prices", "version 2", "version 3")
	if len(recs) != 2 {
		t.Errorf("with the error come %d records, want those of versions 3 and 1", len(recs))
	}
	wantMessage(t, st.PutVersion(t.Context(), record(2)), store.ErrExists)
}

func TestLinksDoNotLeadOut(t *testing.T) {
	for _, name := range []string{"objects", "tmp", "versions", "versions/prices"} {
		t.Run(name, func(t *testing.T) {
			outside, folder := t.TempDir(), t.TempDir()
			full, err := record(1).Encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(outside, "00000000000000000001.json"), full, 0o600); err != nil {
				t.Fatal(err)
			}
			before := files(t, outside)
			if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
			st := open(t, folder)
			content := "content"
			putErr := st.PutObject(t.Context(), digestOf(content), int64(len(content)), strings.NewReader(content))
			versionErr := st.PutVersion(t.Context(), record(1))
			if putErr == nil && versionErr == nil {
				t.Error("nothing is refused")
			}
			if rec, err := st.Latest(t.Context(), "prices"); err == nil && versionErr != nil {
				t.Errorf("reads %s from outside", rec.ID())
			}
			if after := files(t, outside); len(after) != len(before) {
				t.Errorf("the folder outside now has %v", after)
			}
		})
	}
}

func TestObjectThatIsNoFile(t *testing.T) {
	for what, plant := range map[string]func(path string) error{
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":   func(path string) error { return os.Symlink("/etc/passwd", path) },
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			folder := t.TempDir()
			st := open(t, folder)
			d := put(t, st, "content")
			path := filepath.Join(folder, "objects", d.String()[:2], d.String())
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			_, err := st.StatObject(t.Context(), d)
			wantMessage(t, err, store.ErrDamaged, path)
			_, err = st.OpenObject(t.Context(), d, 0, -1)
			wantMessage(t, err, store.ErrDamaged, path)
			err = st.PutObject(t.Context(), d, 7, strings.NewReader("content"))
			wantMessage(t, err, store.ErrDamaged, path)
		})
	}
}

func TestOpenErrors(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		_, err := dir.Open(path)
		wantMessage(t, err, syscall.ENOTDIR, path)
	}
	st := open(t, folder)
	objects := filepath.Join(folder, "objects")
	if err := os.WriteFile(objects, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := st.PutObject(t.Context(), digestOf("x"), 1, strings.NewReader("x"))
	wantMessage(t, err, syscall.ENOTDIR, objects)
}

// faultVariable has the folder of the store of a child process.
const faultVariable = "FRESHET_STORE_FAULT"

// inChild runs the test again in a child process, which may change its user and its limits.
func inChild(t *testing.T, folder string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), faultVariable+"="+folder)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWithoutPermission runs as a user other than root, because root may write anywhere. If this process is root, its child
// becomes another user. That user may not have permission to enter the folders above the store, such as root's home, so the child
// first makes the folder above the store its root directory.
func TestWithoutPermission(t *testing.T) {
	folder := os.Getenv(faultVariable)
	if folder == "" {
		folder = filepath.Join(t.TempDir(), "closed", "store")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		commit(t, open(t, folder), 1)
		for _, name := range []string{"", "tmp", "versions", "versions/prices"} {
			closed := filepath.Join(folder, name)
			if err := os.Chmod(closed, 0o555); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // else a user cannot remove it
				if err := os.Chmod(closed, 0o755); err != nil {
					t.Error(err)
				}
			})
		}
		if os.Geteuid() == 0 { // as a clone in root's home
			if err := os.Chmod(filepath.Dir(filepath.Dir(folder)), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		inChild(t, folder)
		return
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(syscall.Chroot(filepath.Dir(folder)), os.Chdir("/")); err != nil {
			t.Fatal(err)
		}
		folder = "/" + filepath.Base(folder)
		if err := syscall.Setuid(65534); err != nil { // nobody
			t.Fatal(err)
		}
	}
	st := open(t, folder)
	if rec, err := st.Latest(t.Context(), "prices"); err != nil || rec.Version != 1 {
		t.Errorf("a reader does not need to write: version %d, %v", rec.Version, err)
	}
	user := fmt.Sprintf("id %d", os.Geteuid())
	err := st.PutObject(t.Context(), digestOf("x"), 1, strings.NewReader("x"))
	wantMessage(t, err, fs.ErrPermission, filepath.Join(folder, "tmp"), user)
	wantMessage(t, st.PutVersion(t.Context(), record(2)), fs.ErrPermission, filepath.Join(folder, "tmp"), user)
	_, err = dir.Open(folder + "/deeper/store")
	wantMessage(t, err, fs.ErrPermission, filepath.Join(folder, "deeper", "store"), user)
}

func TestFullDisk(t *testing.T) {
	folder := os.Getenv(faultVariable)
	if folder == "" {
		inChild(t, t.TempDir())
		return
	}
	st := open(t, folder)
	put(t, st, "content")
	// A limit on the size of files makes a write fail half-way as a full disk does, without a disk for the test.
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<20)
	err := st.PutObject(t.Context(), sum(b), int64(len(b)), bytes.NewReader(b))
	wantMessage(t, err, syscall.EFBIG, sum(b).String(), filepath.Join(folder, "tmp"))
	_, err = st.StatObject(t.Context(), sum(b))
	wantMessage(t, err, store.ErrNotFound)
	if left := files(t, folder); len(left) != 1 {
		t.Errorf("%d files exist after a failed upload, want the one from before", len(left))
	}
	commit(t, st, 1)
}
