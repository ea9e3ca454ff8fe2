package latency

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain runs this program as the child processes of a run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "latency" {
		if err := Main(context.Background(), os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestMainPrintsEveryTable runs all measurements with small sizes, real servers and child processes. Goals may be missed, because they are
// for an idle machine.
func TestMainPrintsEveryTable(t *testing.T) {
	var out bytes.Buffer
	err := Main(t.Context(), []string{
		"-records", "20000", "-rounds", "1", "-window", "500ms", "-surge", "1s", "-rate", "1000", "-http-rate", "500", "-connections", "4", "-temp", t.TempDir(),
	}, &out)
	if err != nil {
		t.Fatalf("%v; it printed\n%s", err, out.Bytes())
	}
	t.Logf("%s", out.Bytes())
	cells := func(row string) []string {
		t.Helper()
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "| "+row+" |") {
				return strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			}
		}
		t.Fatalf("there is no row %q:\n%s", row, out.Bytes())
		return nil
	}
	for _, title := range []string{
		"In process: Dataset.Get, 1000 a second", "Over HTTP: freshet-server, 500 GET a second", "Baseline in process", "Baseline over HTTP", "p99 to idle", "Surge",
	} {
		if !strings.Contains(out.String(), "## "+title) {
			t.Errorf("there is no table %q:\n%s", title, out.Bytes())
		}
	}
	if n := regexp.MustCompile(`goal [^|]*: (met|missed)`).FindAllString(out.String(), -1); len(n) < 9 {
		t.Errorf("%d goals are judged, want those of 8 loads and of a surge:\n%s", len(n), out.Bytes())
	}
	// The first table has the cells load, p50, p99, p99.9, most, ratio, Get alone, lookups, lost, deltas, full loads, scans, ...
	for row, column := range map[string]int{"deltas of 1 %": 9, "full reloads": 10, "scans": 11, "scans without a lane": 11} {
		c := cells(row)
		if n := strings.TrimSpace(c[column]); n == "0" || n == "0.00" {
			t.Errorf("the load %s did nothing: %q", row, c)
		}
		if lost := strings.TrimSpace(c[8]); lost != "0" {
			t.Errorf("%s lookups found nothing during %s", lost, row)
		}
	}
}

func TestOfferCountsEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := offer(t.Context(), 10, time.Second, func(context.Context) outcome {
			if at := time.Since(start); at > 270*time.Millisecond && at < time.Second {
				return shed
			}
			time.Sleep(250 * time.Millisecond)
			return done
		})
		if r.Sent != 10 || r.Counts[done] != 3 || r.Counts[shed] != 7 || r.MostOpen != 3 || r.Unsent != 0 {
			t.Errorf("%+v", r)
		}
		// The last call is sent after 900 ms. The first one that is not refused begins after 1 s.
		if r.Recovery < 350*time.Millisecond || r.Recovery > 360*time.Millisecond {
			t.Errorf("the first call after the surge was done after %s", r.Recovery)
		}
	})
}

func TestSaturateKeepsItsClientsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := saturate(ctx, 2, func(ctx context.Context) outcome {
			pause(ctx, 400*time.Millisecond)
			if ctx.Err() != nil {
				return stopped
			}
			return done
		})
		if n != (counts{done: 4, stopped: 2}) {
			t.Errorf("%v", n)
		}
	})
}
