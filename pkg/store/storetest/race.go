package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/store"
)

const (
	raceDataset  = "raced"
	raceVersions = 15
	raceWorkers  = 4
)

// race tries to commit each version as soon as the version before exists, on raceWorkers goroutines. It calls won for each version that it
// committed, with the record's source. A version is lost when the store returns ErrExists.
func race(ctx context.Context, st store.Store, name string, won func(version uint64, source string)) error {
	workers := pool.New().WithErrors()
	for worker := range raceWorkers {
		workers.Go(func() error {
			source := fmt.Sprintf("%s-%d", name, worker)
			for version := uint64(1); version <= raceVersions; {
				err := st.PutVersion(ctx, record(raceDataset, version, source))
				switch {
				case err == nil:
					won(version, source)
					version++
				case errors.Is(err, store.ErrExists):
					version++
				default: // also ErrGap: the version before exists, since Latest returned it
					return fmt.Errorf("%s: %w", source, err)
				}
				rec, err := st.Latest(ctx, raceDataset)
				if err != nil || rec.Version < version-1 {
					return fmt.Errorf("%s: the newest is %d, but %d exists: %w", source, rec.Version, version-1, err)
				}
			}
			return nil
		})
	}
	return workers.Wait()
}

// checkWins fails the test unless each version was won once, by the worker whose record is in the store.
func checkWins(t *testing.T, st store.Store, wins map[uint64][]string) {
	t.Helper()
	recs, err := st.Versions(t.Context(), raceDataset, 0, 0)
	if err != nil || len(recs) != raceVersions {
		t.Fatalf("%d versions exist, %v; want %d", len(recs), err, raceVersions)
	}
	for _, rec := range recs {
		if winners := wins[rec.Version]; len(winners) != 1 || winners[0] != rec.Source {
			t.Errorf("version %d is by %s; these won it: %v", rec.Version, rec.Source, winners)
		}
	}
}

func (s suite) oneGoroutineWinsEachVersion(t *testing.T) {
	location := s.Location(t)
	checkWins(t, s.open(t, location), s.raceHandles(t, location, race))
}

// raceHandles runs compete with three handles of the store at the same time, and returns the wins by number.
func (s suite) raceHandles(t *testing.T, location string, compete func(ctx context.Context, st store.Store, name string, won func(uint64, string)) error) map[uint64][]string {
	t.Helper()
	wins := make(chan [2]any, 4*raceWorkers*raceVersions)
	racers := pool.New().WithErrors()
	for i := range 3 {
		st := s.open(t, location)
		racers.Go(func() error {
			return compete(t.Context(), st, fmt.Sprintf("handle %d", i), func(number uint64, by string) {
				wins <- [2]any{number, by} // has space for every possible win
			})
		})
	}
	if err := racers.Wait(); err != nil {
		t.Fatal(err)
	}
	close(wins)
	byNumber := map[uint64][]string{}
	for w := range wins {
		byNumber[w[0].(uint64)] = append(byNumber[w[0].(uint64)], w[1].(string))
	}
	return byNumber
}

func (s suite) oneProcessWinsEachVersion(t *testing.T) {
	location := s.Location(t)
	wins := raceProcesses(t, roleRace, location)
	checkWins(t, s.open(t, location), wins)
}

// raceProcesses runs child processes with the role at the same time, and returns the wins that they report.
func raceProcesses(t *testing.T, role, location string) (wins map[uint64][]string) {
	t.Helper()
	var children []*child
	for i := range 3 {
		children = append(children, startChild(t, role, location, fmt.Sprintf("process %d", i)))
	}
	for _, c := range children { // all have opened the store
		if line := c.line(t); line != "ready" {
			t.Fatalf("a child process reports %q", line)
		}
	}
	for _, c := range children {
		c.send(t, "go")
	}
	wins = map[uint64][]string{}
	for _, c := range children {
		for {
			line := c.line(t)
			if line == "" {
				break
			}
			var number uint64
			digits, who, _ := strings.Cut(line, " ")
			if _, err := fmt.Sscan(digits, &number); err != nil {
				t.Fatalf("a child process reports %q", line)
			}
			wins[number] = append(wins[number], who)
		}
		c.wait(t)
	}
	return wins
}

// raceChild is the role of a child process of oneProcessWinsEachVersion.
func raceChild(ctx context.Context, st store.Store, name string, in io.Reader, report func(string, ...any)) error {
	report("ready")
	if _, err := fmt.Fscanln(in, new(string)); err != nil {
		return err
	}
	return race(ctx, st, name, func(version uint64, source string) { report("%d %s", version, source) })
}
