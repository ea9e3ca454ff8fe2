package scratch_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"freshet.dev/pkg/internal/scratch"
)

// TestMain is also the process that makes a folder and is then killed.
func TestMain(m *testing.M) {
	if parent := os.Getenv("SCRATCH_TEST_PARENT"); parent != "" {
		f, err := scratch.New(parent)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := os.WriteFile(f.Path("data"), make([]byte, 1000), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(f.Path(""))
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	os.Exit(m.Run())
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestFolder(t *testing.T) {
	parent := t.TempDir()
	f, err := scratch.New(parent)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Path("data"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if removed, err := scratch.Clean(parent); err != nil || len(removed) != 0 {
		t.Errorf("Clean removed %v: %v", removed, err)
	}
	if !exists(t, f.Path("data")) {
		t.Error("Clean removed a folder that is in use by this process")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	if _, err := scratch.New(filepath.Join(parent, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

// The folder of another process stays while that lives, and is removed once it is dead, however it died.
func TestCleanRemovesWhatTheDeadLeft(t *testing.T) {
	parent := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SCRATCH_TEST_PARENT="+parent)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Clean(line[:len(line)-1])
	other := filepath.Join(parent, "not-ours")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	// Neither is a link a folder of ours, wherever it leads.
	if err := errors.Join(os.WriteFile(filepath.Join(other, "owner.lock"), nil, 0o600), os.Symlink(other, filepath.Join(parent, "freshet-publish-link"))); err != nil {
		t.Fatal(err)
	}
	if removed, err := scratch.Clean(parent); err != nil || len(removed) != 0 || !exists(t, folder) {
		t.Fatalf("Clean removed %v: %v", removed, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if removed, err := scratch.Clean(parent); err != nil || len(removed) != 1 || removed[0] != folder {
		t.Errorf("Clean removed %v, want %s: %v", removed, folder, err)
	}
	if exists(t, folder) || !exists(t, filepath.Join(other, "owner.lock")) {
		t.Error("Clean removed too little or too much")
	}
}

// Concurrent New and Clean: no folder in use is removed.
func TestNewAndCleanAtOnce(t *testing.T) {
	parent := t.TempDir()
	stop := make(chan struct{})
	var cleaners, makers sync.WaitGroup
	for range 2 {
		cleaners.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := scratch.Clean(parent); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 4 {
		makers.Go(func() {
			for range 100 {
				f, err := scratch.New(parent)
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(f.Path("data"), []byte("x"), 0o600); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(f.Path("data")); err != nil {
					t.Error(err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	close(stop)
	cleaners.Wait()
	if _, err := scratch.Clean(parent); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}
