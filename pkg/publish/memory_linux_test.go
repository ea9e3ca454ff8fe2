package publish_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
)

// footprint is what a process reports of its memory.
type footprint struct {
	InputBytes, PeakBytes, Records int64
	// Took and CPU are of the first publish.
	Took, CPU time.Duration
}

func init() { children["footprint"] = footprintChild }

// footprintChild publishes generated records twice, the second time with changes, patches them and prints its footprint.
func footprintChild() error {
	ctx := context.Background()
	st, err := storeurl.Open(ctx, os.Getenv("STORE"))
	if err != nil {
		return err
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{TempDir: os.Getenv("TEMP_DIR")}, publish.Deps{Store: st})
	if err != nil {
		return err
	}
	records, err := strconv.Atoi(os.Getenv("RECORDS"))
	if err != nil {
		return err
	}
	start := time.Now()
	var f footprint
	result, err := p.Publish(ctx, "prices", publish.Input{
		Body: &generator{records: records}, Key: "key",
		Progress: func(p publish.Progress) { f.InputBytes = max(f.InputBytes, p.BytesRead) },
	})
	if err != nil {
		return err
	}
	f.Took, f.Records = time.Since(start), int64(result.Record.State.Records)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	f.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	result, err = p.Publish(ctx, "prices", publish.Input{Body: &generator{next: 1000, records: records + 500}, Key: "key"})
	if err != nil {
		return err
	}
	if c := result.Record.Changes; c.Added != 500 || c.Removed != 1000 || c.Changed != 0 {
		return fmt.Errorf("changes are %+v", c)
	}
	// Every tenth record is patched, which reads every block.
	patched, err := p.Patch(ctx, "prices", publish.PatchInput{Input: publish.Input{Body: &generator{next: 2000, records: records, every: 10}, Key: "key"}})
	if err != nil {
		return err
	}
	if want := uint64(records-2000+9) / 10; patched.Unchanged != 0 || patched.Changes != (dataset.Changes{Changed: want}) {
		return fmt.Errorf("the patch made %+v, want %d changed", patched, want)
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

// Memory does not follow the size of the input: 1 GB (100 MB with -short) is published, published again with changes, and
// patched in a tenth of all records, in less than 400 MiB resident with the collector's defaults.
func TestPeakMemory(t *testing.T) {
	const most = 400 << 20
	records := 7_600_000
	if testing.Short() {
		records /= 10
	}
	// The race detector distorts memory figures, so the process is always built without it.
	program := filepath.Join(t.TempDir(), "publish.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-race=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "CHILD=footprint", "STORE=dir://"+t.TempDir(), "TEMP_DIR="+temp, fmt.Sprint("RECORDS=", records), "GOGC=", "GOMEMLIMIT=")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var f footprint
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	t.Logf("%d records, %d MB published in %v (%v of a core), peak %d MiB", f.Records, f.InputBytes/1e6,
		f.Took.Round(time.Millisecond), f.CPU.Round(time.Millisecond), f.PeakBytes>>20)
	if f.Records != int64(records) || !testing.Short() && f.InputBytes < 1e9 {
		t.Errorf("published %d records of %d bytes", f.Records, f.InputBytes)
	}
	if f.PeakBytes > most {
		t.Errorf("peak is %d MiB, the most is %d", f.PeakBytes>>20, most>>20)
	}
	noTemp(t, temp)
}
