package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Invariant: a publisher that is killed at any moment, while it patches, publishes and compacts, loses no version that it told of and
// leaves none that is not whole; started again it goes on, tells of what it had not told of, compacts, and clears what it had left.
//
// KILL_ROUNDS=100 go test -race -timeout 1h -run Killed . kills this and the instance below more often.
func TestPublisherIsKilledWhilePatchingAndCompacting(t *testing.T) {
	const name = "prices"
	s := newSystem(t, "", 1, name)
	s.Publisher.Kill()
	temp := t.TempDir()
	s.Publisher = start(t, "publisher", append(s.settings, "TEMP_DIR="+temp, "MAX_DELTAS=2", "COMPACT_EVERY=1s")...)
	l := newLedger(t, s, name, 8000)
	instance := s.Instances[0]
	writing := func() bool {
		snapshots, _ := filepath.Glob(filepath.Join(temp, "*", "snapshot"))
		return len(snapshots) > 0
	}
	var uncertain, committed, halves int
	for round := range killRounds(t, 12) {
		tried := make(chan map[string]string, 1)
		go func() { tried <- l.versions(t.Context(), 300) }()
		if round%2 == 0 { // in the middle of a snapshot, most often that of a compaction
			moment(t, 5000, l.moments.IntN(30), writing)
		} else {
			moment(t, l.moments.IntN(600), 0, func() bool { return false })
		}
		s.Publisher.Kill()
		if writing() {
			halves++
		}
		last := <-tried
		s.Publisher.Start()
		// The answer to the last one is lost: the store knows whether it exists.
		all := l.stored()
		if all[0].Version == l.newest()+1 {
			l.history = append(l.history, last)
			committed++
		}
		uncertain++
		if len(all) != len(l.history) {
			t.Fatalf("round %d: there are %d versions, want %d", round, len(all), len(l.history))
		}
		for i, rec := range all {
			want := uint64(len(all) - i)
			if rec.Version != want || rec.State.Records != uint64(len(l.history[want-1])) {
				t.Fatalf("round %d: version %d of %d records, want version %d of %d", round, rec.Version, rec.State.Records, want, len(l.history[want-1]))
			}
		}
		l.patch(20)
		awaitVersion(t, instance, name, l.newest())
		l.check(instance, l.newest())
	}
	t.Logf("%d versions; killed %d times, %d in the middle of a snapshot; of %d unanswered versions %d were committed", l.newest(), uncertain, halves, uncertain, committed)

	// Compaction works as ever.
	killed := l.newest()
	eventually(t, func(context.Context) error {
		if rec := l.patch(20); rec.Snapshot.Version <= killed {
			return fmt.Errorf("the snapshot of version %d is that of %d", rec.Version, rec.Snapshot.Version)
		}
		return nil
	})
	// And who comes anew gets the same.
	fresh := s.newInstance(t, 2, name)
	for _, i := range []*program{instance, fresh} {
		awaitVersion(t, i, name, l.newest())
		l.check(i, l.newest())
	}
	eventually(t, func(context.Context) error {
		left, err := filepath.Glob(filepath.Join(temp, "*"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%q are left", left)
		}
		return err
	})
}

// Invariant: an instance that is killed at any moment of a refresh, or of what it writes to its cache folder after it, serves a
// committed version from there, whole and right, with no relay to ask; and goes on to the newest when there is one.
func TestInstanceIsKilledWhileRefreshing(t *testing.T) {
	const name = "prices"
	s := newSystem(t, "", 0, name)
	l := newLedger(t, s, name, 6000)
	cache := t.TempDir()
	instance := start(t, "server", "NATS_URL="+s.NATS.URL, "RELAYS="+s.Relay.URL, "DATASETS="+name, "CACHE_DIR="+cache, "INSTANCE=killed")
	files := func() int {
		all, _ := filepath.Glob(filepath.Join(cache, name, "*"))
		return len(all)
	}
	cached := func() uint64 {
		var rec struct{ Version uint64 }
		text, err := os.ReadFile(filepath.Join(cache, name, "version.json"))
		if err != nil || json.Unmarshal(text, &rec) != nil {
			return 0
		}
		return rec.Version
	}
	var behind, unfinished int
	for round := range killRounds(t, 12) {
		eventually(t, func(context.Context) error {
			if v := cached(); v != l.newest() {
				return fmt.Errorf("version %d is in the cache folder, and %d the newest", v, l.newest())
			}
			return nil
		})
		settled, before := l.newest(), files()
		patching, stop := context.WithCancel(t.Context())
		tried := make(chan map[string]string, 1)
		go func() { tried <- l.versions(patching, 900) }()
		if round%2 == 0 { // while it writes to its cache folder
			moment(t, 2000, l.moments.IntN(40), func() bool { return files() != before })
		} else {
			moment(t, l.moments.IntN(1000), 0, func() bool { return false })
		}
		instance.Kill()
		stop()
		if failed := <-tried; failed != nil {
			t.Fatalf("round %d: a publish failed; the publisher says\n%s", round, s.Publisher.Log())
		}
		if temps, _ := filepath.Glob(filepath.Join(cache, name, "*.tmp")); len(temps) > 0 {
			unfinished++
		}
		version := cached()

		s.Relay.Kill()
		instance.Start()
		eventually(t, func(ctx context.Context) error {
			all, err := datasets(ctx, instance)
			if err == nil && (all[name].Version != version || all[name].From != "cache") {
				err = fmt.Errorf("it serves %+v, want version %d from the cache folder", all[name], version)
			}
			return err
		})
		if version < settled || version > l.newest() {
			t.Fatalf("round %d: version %d is in the cache folder, where version %d was before; the newest is %d", round, version, settled, l.newest())
		}
		if version < l.newest() {
			behind++
		}
		l.check(instance, version)

		s.Relay.Start()
		l.patch(5)
		awaitVersion(t, instance, name, l.newest())
		l.check(instance, l.newest())
	}
	t.Logf("%d versions; %d times it was behind when it was killed, %d times it was writing", l.newest(), behind, unfinished)
}
