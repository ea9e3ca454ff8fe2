package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
)

// ledger holds the expected records of each version of a dataset, as maps.
type ledger struct {
	t       *testing.T
	r       *rand.Rand // of whoever patches
	moments *rand.Rand // of the test's goroutine, which does other things meanwhile
	s       *system
	name    string
	keys    int                 // how many there can be
	history []map[string]string // by version, from 1
}

// newLedger publishes a first version of half of the keys.
func newLedger(t *testing.T, s *system, name string, keys int) *ledger {
	t.Helper()
	l := &ledger{t: t, r: rand.New(rand.NewPCG(7, 7)), moments: rand.New(rand.NewPCG(8, 8)), s: s, name: name, keys: keys}
	first := map[string]string{}
	for len(first) < keys/2 {
		key := l.key()
		first[key] = l.line(key)
	}
	if _, err := l.send(t.Context(), http.MethodPost, "/versions", lines(first)); err != nil {
		t.Fatalf("publish: %v", err)
	}
	l.history = append(l.history, first)
	return l
}

// lines returns the records as the body of a request.
func lines(all map[string]string) string { return strings.Join(slices.Collect(maps.Values(all)), "\n") }

func (l *ledger) key() string { return "key-" + strconv.Itoa(l.r.IntN(l.keys)) }

func (l *ledger) line(key string) string {
	return fmt.Sprintf(`{"key":%q,"a":"%x","b":"%x%x"}`, key, l.r.Uint64(), l.r.Uint64(), l.r.Uint64())
}

func (l *ledger) newest() uint64 { return uint64(len(l.history)) }

// change returns n random changes of the newest version: the body of the patch and the resulting records. The last change is always a
// new value, so that the patch creates a version.
func (l *ledger) change(n int) (text string, next map[string]string) {
	next = maps.Clone(l.history[len(l.history)-1])
	changes := map[string]string{}
	for i := range n {
		key := l.key()
		if i < n-1 && l.r.IntN(4) == 0 {
			delete(next, key)
			changes[key] = fmt.Sprintf(`{"key":%q,"$remove":true}`, key)
			continue
		}
		next[key] = l.line(key)
		changes[key] = next[key]
	}
	return lines(changes), next
}

// send publishes (POST, /versions) or patches (PATCH), and returns the record of the new version.
func (l *ledger) send(ctx context.Context, method, path, text string) (rec dataset.VersionRecord, err error) {
	return l.sendWith(ctx, method, path, "", text)
}

// sendWith is send with further parameters, each preceded by an &.
func (l *ledger) sendWith(ctx context.Context, method, path, parameters, text string) (rec dataset.VersionRecord, err error) {
	url := l.s.Publisher.URL + "/v1/datasets/" + l.name + path + "?key=key" + parameters
	status, _, body, err := do(ctx, method, url, "application/x-ndjson", []byte(text))
	if err != nil {
		return rec, err
	}
	var answer struct {
		Record dataset.VersionRecord `json:"version_record"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusCreated {
		return rec, fmt.Errorf("%d %s: %v", status, body, err)
	}
	return answer.Record, nil
}

// patch publishes n changes as the next version. The patch must succeed.
func (l *ledger) patch(n int) dataset.VersionRecord {
	l.t.Helper()
	text, next := l.change(n)
	rec, err := l.send(l.t.Context(), http.MethodPatch, "", text)
	if err != nil || rec.Version != l.newest()+1 {
		l.t.Fatalf("patch version %d: it became version %d, %v", l.newest(), rec.Version, err)
	}
	l.history = append(l.history, next)
	return rec
}

// versions publishes versions, by patches of up to n changes and sometimes by a full publish, until stop ends or a publish fails. It
// returns the records that the failed publish would have created.
func (l *ledger) versions(stop context.Context, n int) (failed map[string]string) {
	for stop.Err() == nil {
		method, path := http.MethodPatch, ""
		text, next := l.change(1 + l.r.IntN(n))
		if l.r.IntN(6) == 0 {
			method, path, text = http.MethodPost, "/versions", lines(next)
		}
		rec, err := l.send(l.t.Context(), method, path, text)
		if err != nil {
			return next
		}
		if rec.Version != l.newest()+1 {
			l.t.Errorf("what follows version %d became version %d", l.newest(), rec.Version)
		}
		l.history = append(l.history, next)
	}
	return nil
}

// stored returns all version records, newest first; at most 1,000.
func (l *ledger) stored() []dataset.VersionRecord {
	l.t.Helper()
	return l.storedBefore(0)
}

// storedBefore returns the version records before the version; all of them for 0.
func (l *ledger) storedBefore(version uint64) []dataset.VersionRecord {
	l.t.Helper()
	url := fmt.Sprintf("%s/v1/datasets/%s/versions?limit=1000&before=%d", l.s.Publisher.URL, l.name, version)
	status, _, body, err := do(l.t.Context(), http.MethodGet, url, "", nil)
	var list struct{ Versions []dataset.VersionRecord }
	if err == nil {
		err = json.Unmarshal(body, &list)
	}
	if err != nil || status != http.StatusOK || len(list.Versions) == 0 {
		l.t.Fatalf("list the versions: %d %.200s %v", status, body, err)
	}
	return list.Versions
}

// check compares every record of the instance, which serves the version, with the ledger, including keys that the version lacks.
func (l *ledger) check(instance *program, version uint64) {
	l.t.Helper()
	all := map[string]string{}
	for i := range l.keys {
		all["key-"+strconv.Itoa(i)] = ""
	}
	checkAll(l.t, instance, l.name, version, l.history[version-1], all)
}

// killRounds returns how often a test kills a program: rounds, or the value of KILL_ROUNDS.
func killRounds(t *testing.T, rounds int) int {
	t.Helper()
	if testing.Short() {
		rounds = 2
	}
	return soaked(t, "KILL_ROUNDS", rounds)
}

// soaked returns n, or the number in the environment variable, with which scripts/test --long runs a test longer.
func soaked(t *testing.T, variable string, n int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return n
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number", variable, text)
	}
	return n
}

// moment waits until now returns true, at most for ticks of a fifth of a millisecond, and then for more ticks.
func moment(t *testing.T, ticks, more int, now func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for seen := false; ; {
		switch {
		case seen && more == 0:
			return
		case seen:
			more--
		case ticks == 0 || now():
			seen = true
		default:
			ticks--
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return
		}
	}
}
