//go:build !race

package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"freshet.dev/pkg/history"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
)

// footprint is what a process that reads a version reports.
type footprint struct{ Records, Bytes, PeakBytes int64 }

func init() { children["export"] = exportChild }

// exportChild reads all records of the newest version, compares it with the first, and prints its footprint.
func exportChild() error {
	ctx := context.Background()
	st, err := storeurl.Open(ctx, os.Getenv("STORE"))
	if err != nil {
		return err
	}
	defer st.Close()
	reader := history.New(history.Config{}, st)
	v, err := reader.Open(ctx, name, 0)
	if err != nil {
		return err
	}
	var f footprint
	for r, err := range v.Records(ctx, nil) {
		if err != nil {
			return err
		}
		f.Records++
		f.Bytes += int64(len(r.Key) + len(r.Value))
	}
	d, err := reader.Diff(ctx, name, 1, 0)
	if err != nil {
		return err
	}
	if _, err := d.Count(ctx); err != nil {
		return err
	}
	if f.PeakBytes, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// peak returns the most memory that this process has had resident.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			var kib int64
			_, err := fmt.Sscanf(string(value), "%d kB", &kib)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in /proc/self/status")
}

// Memory does not follow the size of a version that is read, nor that of the difference of two: one of 200 MB (50 MB with -short) takes
// less than 96 MiB resident with the collector's defaults, beside a chain of deltas that change a tenth of its records.
func TestPeakMemory(t *testing.T) {
	const most = 96 << 20
	rows := 2_000_000
	if testing.Short() {
		rows /= 4
	}
	r := newRig(t, publish.MaxMaxDeltas)
	r.publishRows(t, rows)
	for v := range 5 {
		r.patchRows(t, rows, v, 50, v+1)
	}
	// The race detector distorts memory figures, so the process is always built without it.
	program := filepath.Join(t.TempDir(), "history.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-race=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "CHILD=export", "STORE=dir://"+r.folder, "GOGC=", "GOMEMLIMIT=")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var f footprint
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	t.Logf("%d records of %d MB, peak %d MiB", f.Records, f.Bytes/1e6, f.PeakBytes>>20)
	if f.Records != int64(rows) || f.Bytes < 100*int64(rows) {
		t.Errorf("%d records of %d bytes", f.Records, f.Bytes)
	}
	if f.PeakBytes > most {
		t.Errorf("peak is %d MiB, the most is %d", f.PeakBytes>>20, most>>20)
	}
}
