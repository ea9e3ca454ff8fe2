package publish_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
)

func init() {
	children["stdin"] = stdinChild
	children["full disk"] = fullDiskChild
}

// stdinChild publishes what it is sent, and prints a line once it has spilled some of it.
func stdinChild() error {
	return publishChild(os.Stdin, func(p publish.Progress) {
		if files, _ := filepath.Glob(filepath.Join(os.Getenv("TEMP_DIR"), "*", "range*")); len(files) > 0 {
			fmt.Println("spilled")
		}
	})
}

// fullDiskChild publishes where files cannot grow beyond 256 KiB, which fails a write half-way just as a full disk does.
func fullDiskChild() error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 256 << 10, Max: 256 << 10}); err != nil {
		return err
	}
	return publishChild(&generator{records: 200_000}, nil)
}

func publishChild(body io.Reader, progress func(publish.Progress)) error {
	ctx := context.Background()
	st, err := storeurl.Open(ctx, os.Getenv("STORE"))
	if err != nil {
		return err
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{TempDir: os.Getenv("TEMP_DIR"), MemoryBytes: 4 << 20}, publish.Deps{Store: st})
	if err != nil {
		return err
	}
	_, err = p.Publish(ctx, "prices", publish.Input{Body: body, Key: "key", Progress: progress})
	return err
}

// What a publisher that was killed has left is removed by the next one, and not before it is dead.
func TestNewRemovesWhatADeadPublisherLeft(t *testing.T) {
	r := newRig(t, nil)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD=stdin", "STORE="+r.url, "TEMP_DIR="+r.temp)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = io.Copy(stdin, &generator{records: 200_000}) // more than fits into memory; no end of input follows
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "spilled\n" {
		t.Errorf("the child said %q: %v", line, err)
	}
	restart := func() {
		t.Helper()
		if _, err := publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store}); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	if files, err := filepath.Glob(filepath.Join(r.temp, "*", "range*")); err != nil || len(files) == 0 {
		t.Errorf("the files of a living publisher are %v: %v", files, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	_ = stdin.Close()
	<-fed
	restart()
	noTemp(t, r.temp)
	if _, err := r.store.Latest(t.Context(), "prices"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	r := newRig(t, nil)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD=full disk", "STORE="+r.url, "TEMP_DIR="+r.temp)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), syscall.EFBIG.Error()) || !strings.Contains(string(out), "TempDir") {
		t.Errorf("error is %v, output %s", err, out)
	}
	noTemp(t, r.temp)
	if _, err := r.store.Latest(t.Context(), "prices"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
}
