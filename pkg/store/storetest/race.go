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
	raceLanes    = 4
)

// race tries, on raceLanes goroutines, to commit each version as soon as the one before is there, and calls won for
// each that it did commit, with the record's source. A version counts as lost once the store says that it exists.
func race(ctx context.Context, st store.Store, who string, won func(version uint64, source string)) error {
	lanes := pool.New().WithErrors()
	for lane := range raceLanes {
		lanes.Go(func() error {
			source := fmt.Sprintf("%s-%d", who, lane)
			for version := uint64(1); version <= raceVersions; {
				err := st.PutVersion(ctx, record(raceDataset, version, source))
				switch {
				case err == nil:
					won(version, source)
					version++
				case errors.Is(err, store.ErrExists):
					version++
				default: // also ErrGap: the one before is there, we just saw it
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
	return lanes.Wait()
}

// settle fails the test unless each version was won once, by the one whose record is there.
func settle(t *testing.T, st store.Store, wins map[uint64][]string) {
	t.Helper()
	recs, err := st.Versions(t.Context(), raceDataset, 0, 0)
	if err != nil || len(recs) != raceVersions {
		t.Fatalf("%d versions are there, %v; want %d", len(recs), err, raceVersions)
	}
	for _, rec := range recs {
		if winners := wins[rec.Version]; len(winners) != 1 || winners[0] != rec.Source {
			t.Errorf("version %d is by %s; told that they won: %v", rec.Version, rec.Source, winners)
		}
	}
}

func (s suite) oneGoroutineWinsEachVersion(t *testing.T) {
	url := s.URL(t)
	wins := make(chan [2]any, 4*raceLanes*raceVersions)
	racers := pool.New().WithErrors()
	for i := range 3 {
		st := s.open(t, url)
		racers.Go(func() error {
			return race(t.Context(), st, fmt.Sprintf("handle %d", i), func(version uint64, source string) {
				wins <- [2]any{version, source} // has room for every win there can be
			})
		})
	}
	if err := racers.Wait(); err != nil {
		t.Fatal(err)
	}
	close(wins)
	byVersion := map[uint64][]string{}
	for w := range wins {
		byVersion[w[0].(uint64)] = append(byVersion[w[0].(uint64)], w[1].(string))
	}
	settle(t, s.open(t, url), byVersion)
}

func (s suite) oneProcessWinsEachVersion(t *testing.T) {
	url := s.URL(t)
	var children []*child
	for i := range 3 {
		children = append(children, startChild(t, roleRace, url, fmt.Sprintf("process %d", i)))
	}
	for _, c := range children { // all have opened the store and wait
		if line := c.line(t); line != "ready" {
			t.Fatalf("a child process says %q", line)
		}
	}
	for _, c := range children {
		c.say(t, "go")
	}
	wins := map[uint64][]string{}
	for _, c := range children {
		for {
			line := c.line(t)
			if line == "" {
				break
			}
			var version uint64
			digits, source, _ := strings.Cut(line, " ")
			if _, err := fmt.Sscan(digits, &version); err != nil {
				t.Fatalf("a child process says %q", line)
			}
			wins[version] = append(wins[version], source)
		}
		c.wait(t)
	}
	settle(t, s.open(t, url), wins)
}

// raceChild is what a child process does for oneProcessWinsEachVersion.
func raceChild(ctx context.Context, st store.Store, who string, in io.Reader, say func(string, ...any)) error {
	say("ready")
	if _, err := fmt.Fscanln(in, new(string)); err != nil {
		return err
	}
	return race(ctx, st, who, func(version uint64, source string) { say("%d %s", version, source) })
}
