package memory

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMain runs this program as the child processes of a run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "memory" {
		if err := Main(context.Background(), os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestMainPrintsEveryTable runs all measurements with few records, real servers and child processes.
func TestMainPrintsEveryTable(t *testing.T) {
	var out bytes.Buffer
	if err := Main(t.Context(), []string{"-records", "5000", "-deltas", "30", "-rate", "100", "-temp", t.TempDir()}, &out); err != nil {
		t.Fatalf("%v; it printed\n%s", err, out.Bytes())
	}
	t.Logf("%s", out.Bytes())
	for _, want := range []string{
		"5000 records: at most", "## Memory, 5000 records", "| after the load, resident |", "| after 30 deltas of 1 % under lookups, peak so far |", "| after one full reload more, resident |",
		"refreshed by 30 deltas", "updated 30 times in place", "lookups (0 without a record)",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, out.Bytes())
		}
	}
}

// Invariant: what does not fit is left out, before any file is written.
func TestWhatDoesNotFitIsLeftOut(t *testing.T) {
	var out bytes.Buffer
	if err := Main(t.Context(), []string{"-records", "1000000000000", "-temp", t.TempDir()}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "are left out: they may not fit") {
		t.Errorf("it printed %s", out.Bytes())
	}
}
