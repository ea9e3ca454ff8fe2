package demo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/goleak"

	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/freshet/internal/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records reads the records of a release without the demo's code, as values by key.
func records(t *testing.T, r release) map[string]string {
	t.Helper()
	packed, err := r.open()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for lines := bufio.NewScanner(plain); lines.Scan(); {
		var record struct{ Key string }
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Fatal(err)
		}
		all[record.Key] = lines.Text()
	}
	return all
}

// expectedRow computes the cells up to the changes from the data.
func expectedRow(version int, r release, before, after map[string]string) []string {
	var added, changed, removed uint64
	for key, value := range after {
		if was, ok := before[key]; !ok {
			added++
		} else if was != value {
			changed++
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			removed++
		}
	}
	return []string{
		strconv.Itoa(version), string(r), show.Count(uint64(len(after))), show.Count(added), show.Count(changed), show.Count(removed),
	}
}

// size parses a number of bytes with a unit.
func size(t *testing.T, cells []string) uint64 {
	t.Helper()
	n, err := humanize.ParseBytes(strings.Join(cells, " "))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEach(t *testing.T) {
	for _, c := range []struct {
		pulled []int64
		want   string
	}{
		{[]int64{2560, 2560, 2560}, "2.5 KiB"},
		{[]int64{2560, 180224, 2560}, "2.5 KiB / 176 KiB / 2.5 KiB"},
		{[]int64{0, 0, 988}, "0 B / 0 B / 988 B"},
	} {
		if got := each(c.pulled); got != c.want {
			t.Errorf("%v is shown as %q, want %q", c.pulled, got, c.want)
		}
	}
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", dir, left, err)
	}
}

func TestDemoShowsWhatHappens(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := Run(t.Context(), Config{Dir: dir, Exit: true, Command: "freshet"}, &out); err != nil {
		t.Fatalf("%v after\n%s", err, out.String())
	}
	checkEmpty(t, dir)
	t.Logf("\n%s", out.String())

	all, err := releases()
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(out.String()) {
		cells := strings.Fields(line)
		if len(cells) == 0 {
			continue
		}
		if _, err := strconv.Atoi(cells[0]); err == nil {
			rows = append(rows, cells)
		}
	}
	if len(rows) != len(all) {
		t.Fatalf("%d rows, want %d", len(rows), len(all))
	}
	before := map[string]string{}
	var whole uint64 // bytes of the first version's snapshot
	for i, r := range all {
		after := records(t, r)
		if got, want := strings.Join(rows[i][:6], " "), strings.Join(expectedRow(i+1, r, before, after), " "); got != want {
			t.Errorf("row %q, want %q", got, want)
		}
		// Then the bytes of the delta, which is much smaller than the snapshot for these releases, the same bytes pulled by each
		// instance, and a time for each instance.
		cells := rows[i][6:]
		if i == 0 {
			if cells[0] != "-" {
				t.Errorf("row %q: the first version has no delta", rows[i])
			}
			whole = size(t, cells[1:3])
			if whole < 50<<10 || whole > 1<<20 {
				t.Errorf("row %q: pulled is no plausible number of bytes", rows[i])
			}
			cells = cells[3:]
		} else {
			delta, pulled := size(t, cells[:2]), size(t, cells[2:4])
			if delta == 0 || delta > whole/5 || pulled != delta {
				t.Errorf("row %q: pulled %d bytes, of a delta of %d, where the snapshot has %d", rows[i], pulled, delta, whole)
			}
			cells = cells[4:]
		}
		if len(cells) != len(instances) {
			t.Fatalf("row %q: want %d times at its end", rows[i], len(instances))
		}
		for _, cell := range cells {
			if ms, err := strconv.ParseFloat(cell, 64); err != nil || ms <= 0 {
				t.Errorf("row %q: %s is no time", rows[i], cell)
			}
		}
		before = after
	}
	if want := "Since version 1, whose snapshot has "; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not said", want)
	}
	if want := "demo-3 is fresh on version 8"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not said", want)
	}
	for _, d := range shownDifference(t, all) {
		if want := strings.Join([]string{d.path, d.before, d.after}, " "); !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("%q is not shown", want)
		}
	}
}

// shownDifference returns how the shown record differs between the last two releases.
func shownDifference(t *testing.T, all []release) []difference {
	t.Helper()
	n := len(all)
	found, err := differences([]byte(records(t, all[n-2])[shownKey]), []byte(records(t, all[n-1])[shownKey]))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s does not differ between the last releases: %v, %v", shownKey, found, err)
	}
	return found
}

// cancelOn is a writer that calls cancel after text was written.
type cancelOn struct {
	text   string
	cancel context.CancelFunc
	got    bytes.Buffer
}

func (w *cancelOn) Write(p []byte) (int, error) {
	w.got.Write(p)
	if strings.Contains(w.got.String(), w.text) {
		w.cancel()
	}
	return len(p), nil
}

// TestInterrupted ends the demo at several moments before the end of its output.
func TestInterrupted(t *testing.T) {
	for _, at := range []string{"freshet demo:", "8.1.1", "8.1.5"} {
		t.Run(at, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &cancelOn{text: at, cancel: cancel}
			if err := Run(ctx, Config{Dir: dir, Exit: true}, out); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			if strings.Contains(out.got.String(), "what changed") {
				t.Error("it went on")
			}
			checkEmpty(t, dir)
		})
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Config{Dir: filepath.Join(file, "below"), Exit: true}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("got %v, want an error that names %s and --dir", err, file)
	}
}

func TestBusyPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dir := t.TempDir()
	port := listener.Addr().(*net.TCPAddr).Port
	err = Run(t.Context(), Config{Dir: dir, Exit: true, Ports: stack.Ports{Relay: port}}, io.Discard)
	if busy, ok := errors.AsType[*stack.PortError](err); !ok || busy.Part != "relay" {
		t.Errorf("got %v, want a PortError of the relay", err)
	}
	checkEmpty(t, dir)
}

// TestOutputThatCannotBeWritten closes the reader of the output.
func TestOutputThatCannotBeWritten(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	dir := t.TempDir()
	if err := Run(t.Context(), Config{Dir: dir}, w); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want io.ErrClosedPipe", err)
	}
	checkEmpty(t, dir)
}

// TestSuggestedCommandsWork runs the commands that the demo suggests in a shell, in order, in the repository's root. In a namespace
// each command must name the namespace.
func TestSuggestedCommandsWork(t *testing.T) {
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a folder's name")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Run(ctx, Config{Dir: dir, Namespace: "try", Command: "go run ./services/freshet"}, writer)
		writer.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(reader)
	var commands []string
	for suggested := false; lines.Scan() && !strings.HasPrefix(lines.Text(), "Files:"); {
		if suggested {
			commands = append(commands, strings.TrimSpace(lines.Text()))
		}
		suggested = strings.HasPrefix(lines.Text(), "  # ")
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(commands) != 6 {
		t.Fatalf("%d commands are suggested: %q", len(commands), commands)
	}
	// A part of the output of each command.
	for i, want := range [][]string{
		{"HTTP/1.1 200 OK", "Freshet-Version: 8", `"key":"` + shownKey + `"`},
		{"version 9: ", "demo-1 serves version 9", "demo-3 serves version 9", "every live instance (3) serves version 9"},
		{"version 10: ", "(1 added, 0 changed, 0 removed)", "pulled (1 delta)", "every live instance (3) serves version 10"},
		{"demo-1", "demo-2", "demo-3", "fresh", "1 delta"},
		{"release=8.1.9", "release=8.1.1"},
		{`"key":"` + shownKey + `"`},
	} {
		cmd := exec.CommandContext(ctx, "sh", "-c", commands[i])
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", commands[i], err, out)
		}
		for _, text := range want {
			if !strings.Contains(string(out), text) {
				t.Errorf("%s: printed no %q:\n%s", commands[i], text, out)
			}
		}
	}
	cancel()
	rest, err := io.ReadAll(reader)
	if err != nil || !strings.Contains(string(rest), "is removed") {
		t.Errorf("at the end it says %q, %v", rest, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("ended after everything was shown: %v", err)
	}
	checkEmpty(t, dir)
}
