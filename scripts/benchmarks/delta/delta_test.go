package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/scripts/benchmarks/internal/objects"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// TestMain runs this program as the child processes of a run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "delta" {
		if err := Main(context.Background(), os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestMainPrintsEveryTable runs all measurements with small sizes, real servers and child processes. Bounds may be missed, because they
// hold for large tables on an idle machine.
func TestMainPrintsEveryTable(t *testing.T) {
	var out bytes.Buffer
	err := Main(t.Context(), []string{
		"-records", "2000,20000", "-rounds", "1", "-versions", "20", "-temp", t.TempDir(), "-only", "refresh,lookups,burst,patch,undo",
	}, &out)
	if err != nil && !errors.Is(err, errMissed) {
		t.Fatalf("%v; it printed\n%s", err, out.Bytes())
	}
	for _, want := range []string{
		"Bytes pulled, 2000 records", "hand to swapped, 20000 records", "Resident memory of a refresh, 20000", "100 changes take",
		"Lookups after deltas of 1 %, 2000 records", "20 versions of 10 changes", "A patch of 100 changes", "20000 records  ", "Rollbacks of 2000 records", "Resident memory of the instances",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, out.Bytes())
		}
	}
	for _, never := range []string{"records not found", "versions seen after a newer one"} {
		if !regexp.MustCompile(never + " +0 ").MatchString(out.String()) {
			t.Errorf("it does not say that there are no %s:\n%s", never, out.Bytes())
		}
	}
}

// TestCities publishes made-up cities and checks that the steps have about the expected sizes.
func TestCities(t *testing.T) {
	const count = 3000
	steps, err := publishEditions(t.Context(), t.TempDir(), madeUpCities(count))
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 4 {
		t.Fatalf("there are %d steps", len(steps))
	}
	for i, s := range steps[1:] {
		if n := s.changes.Total(); n < count/200 || n > count/50 || s.pulled <= 0 || s.pulled > s.whole/10 || s.alone <= 0 {
			t.Errorf("step %d is %+v", i+1, s)
		}
	}
}

// small is a number of records that fills several partitions.
const small = 20_000

func makeSmall(t *testing.T) data {
	t.Helper()
	path, err := makeData(t.TempDir(), small, true)
	if err != nil {
		t.Fatal(err)
	}
	d, err := readData(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestMeasure runs the measurements of single processes once with small sizes in this process.
func TestMeasure(t *testing.T) {
	d := makeSmall(t)
	ctx := t.Context()
	times, err := measureTimes(ctx, d, 1)
	if err != nil {
		t.Fatal(err)
	}
	if times.FastestLoad <= 0 || len(times.Refresh) != len(sizes) || times.Refresh[0] <= 0 {
		t.Errorf("times are %+v", times)
	}
	m, err := measureMemory(ctx, d.Base, d.Chain)
	if err != nil {
		t.Fatal(err)
	}
	if m.Peak < m.Before || m.Table < small*rows.PayloadBytes || m.Payload != small*rows.PayloadBytes || m.Slowest < m.Median {
		t.Errorf("memory is %+v", m)
	}
	for i, f := range d.Fresh {
		l, err := measureLookups(ctx, d.Base, f, d.Chain[:depths[i]], i%2 == 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Get.Worn) != 1 || l.Get.Worn[0] <= 0 || len(l.Get.Fresh) != 1 || l.Get.Fresh[0] <= 0 || l.GetMany.ratios()[0] <= 0 || l.WornBytes <= 0 || l.FreshBytes <= 0 {
			t.Errorf("lookups after %d deltas are %+v", depths[i], l)
		}
	}
	for _, part := range []string{"structs", "keys", "clone"} {
		if ns, err := measureMap(small, part); err != nil || ns <= 0 {
			t.Errorf("a map of %s takes %d: %v", part, ns, err)
		}
	}
}

// TestPhasesAreFunctions checks that this program has the function of each phase: a phase whose function was renamed takes no time.
func TestPhasesAreFunctions(t *testing.T) {
	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range phases {
		if !regexp.MustCompile("(?m)" + phase.function).Match(symbols) {
			t.Errorf("the program has no function %s, for %q", phase.function, phase.label)
		}
	}
}

// TestProfile checks that a profile contains the phases.
func TestProfile(t *testing.T) {
	d := makeSmall(t)
	p, err := profile(t.Context(), d, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b := bench{report: report{out: &out}}
	found, err := b.printProfile(t.Context(), small, p)
	if err != nil {
		t.Fatal(err)
	}
	if found < len(phases)/2 { // in a small table, some phases are too short for a sample
		t.Errorf("%d phases of %d are found:\n%s", found, len(phases), out.Bytes())
	}
}

// Invariant: the deltas are the same as those of a publisher.
func TestDeltasAreThoseOfAPublisher(t *testing.T) {
	d := makeSmall(t)
	ctx := t.Context()
	st, err := storeurl.Open(ctx, "dir://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range sizes {
		name := fmt.Sprintf("size-%d", i)
		if err := putBase(ctx, st, name, d); err != nil {
			t.Fatal(err)
		}
		// The same picks as in makeData.
		m := maker{objects.NewMaker("", small)}
		var picked []int
		for j, of := range sizes[:i+1] {
			n := of.variants
			if j == i {
				n = 1
			}
			for range n {
				picked = m.Pick(of.changes(small))
			}
		}
		var patch []byte
		for _, at := range picked {
			patch = append(rows.AppendUpdate(patch, int(m.Order[at])), '\n')
		}
		in := publish.PatchInput{Input: publish.Input{Body: bytes.NewReader(patch), Format: publish.FormatNDJSON, Key: "key"}}
		result, err := p.Patch(ctx, name, in)
		if err != nil {
			t.Fatal(err)
		}
		want, got := d.Single[i][0], result.Record
		for j := range got.Deltas {
			got.Deltas[j].From = dataset.VersionID{} // the store's id, which is random, is part of it
		}
		if len(got.Deltas) != 1 || got.Deltas[0] != want.Object || got.State != want.State {
			t.Errorf("%s: the publisher makes %+v, this package %+v", s.label, got.Deltas, want.Object)
		}
	}
}

// Invariant: a missed bound is marked in the table and returns an error.
func TestReport(t *testing.T) {
	var out bytes.Buffer
	r := report{out: &out}
	for _, tc := range []struct{ got, want string }{
		{r.most("a", 1, 1), "at most 1: ok"},
		{r.least("b", 1, 1), "at least 1: ok"},
		{r.most("c", 1.5, 1), "at most 1: MISSED"},
		{r.least("d", 1, 1.5), "at least 1.5: MISSED"},
	} {
		if tc.got != tc.want {
			t.Errorf("the report says %q, want %q", tc.got, tc.want)
		}
	}
	if err := r.err(); err == nil || !bytes.Contains(out.Bytes(), []byte("MISSED c: 1.5, at most 1")) {
		t.Errorf("the report ends with %v and\n%s", err, out.Bytes())
	}
}
