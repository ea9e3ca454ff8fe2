package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/sourcegraph/conc/pool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	datasetsKey = "freshet:v1:{catalog}:datasets"
	citiesKey   = "freshet:v1:{catalog}:versions:cities"
)

// record returns a version record of cities with a chain of the given number of deltas.
func record(version uint64, deltas int) dataset.VersionRecord {
	object := func(v uint64) dataset.Object {
		return dataset.Object{Version: v, Digest: dataset.Digest{1, byte(v), byte(v >> 8)}, Bytes: 20_000 + int64(v%1000)}
	}
	r := dataset.VersionRecord{
		Dataset: "cities", Version: version, Seed: math.MaxUint64,
		State:        dataset.Checksum{Records: 170_540, Hi: math.MaxUint64, Lo: version},
		PayloadBytes: 25_241_530,
		Snapshot:     object(version - uint64(deltas)),
		Changes:      dataset.Changes{Added: 430, Changed: 12, Removed: 4},
		Created:      time.Date(2026, 11, 22, 17, 44, 41, 123456789, time.UTC),
		Source:       "nightly pipeline", Labels: map[string]string{"release": "1.1.61"},
	}
	for i := range deltas {
		r.Deltas = append(r.Deltas, object(r.Snapshot.Version+uint64(i)+1))
	}
	return r
}

func open(t *testing.T) (context.Context, *servertest.RedisServer, redis.UniversalClient, *catalog.Catalog) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s := servertest.Redis(t)
	rdb, err := catalog.Connect(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return ctx, s, rdb, catalog.New(rdb, "")
}

func advance(t *testing.T, ctx context.Context, c *catalog.Catalog, r dataset.VersionRecord, want bool) {
	t.Helper()
	moved, err := c.Advance(ctx, r)
	if err != nil || moved != want {
		t.Fatalf("Advance(%s) = %v, %v, want %v", r.ID(), moved, err, want)
	}
}

func TestMovesForwardOnly(t *testing.T) {
	ctx, _, _, c := open(t)
	if _, err := c.Latest(ctx, "cities"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("an unknown dataset: %v", err)
	}
	if _, err := c.Versions(ctx, "cities", 0); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("an unknown dataset: %v", err)
	}
	if names, err := c.Datasets(ctx); err != nil || len(names) != 0 {
		t.Errorf("datasets of an empty catalog: %v, %v", names, err)
	}
	// As doubles, the numbers of Lua, 1<<53 and 1<<53+1 are equal.
	versions := []uint64{9, 10, 1 << 53, 1<<53 + 1, math.MaxUint64}
	for i, v := range versions {
		advance(t, ctx, c, record(v, 2), true)
		for _, old := range versions[:i+1] {
			advance(t, ctx, c, record(old, 0), false)
		}
		got, err := c.Latest(ctx, "cities")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(record(v, 2), got); diff != "" {
			t.Error(diff)
		}
	}
	records, err := c.Versions(ctx, "cities", 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []dataset.VersionRecord{record(math.MaxUint64, 2), record(1<<53+1, 2), record(1<<53, 2)}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Error(diff)
	}
}

func TestRefusesInvalidVersions(t *testing.T) {
	ctx, _, rdb, c := open(t)
	if _, err := c.Advance(ctx, dataset.VersionRecord{Dataset: "cities"}); !errors.Is(err, dataset.ErrVersionRecord) {
		t.Errorf("Advance: %v", err)
	}
	if _, err := c.Latest(ctx, "Cities"); !errors.Is(err, dataset.ErrName) {
		t.Errorf("Latest: %v", err)
	}
	if _, err := c.Versions(ctx, "", 1); !errors.Is(err, dataset.ErrName) {
		t.Errorf("Versions: %v", err)
	}
	if n := rdb.DBSize(ctx).Val(); n != 0 {
		t.Errorf("%d keys were written", n)
	}
}

// Invariants: Advance moves exactly once past each version that it reports as moved, and the catalog ends at the
// highest version with the last 32 that moved.
func TestConcurrentAndOutOfOrder(t *testing.T) {
	ctx, _, _, c := open(t)
	const versions, workers = 200, 8
	moved := make([]bool, versions+1)
	order := rand.Perm(versions)
	p := pool.New().WithMaxGoroutines(workers).WithErrors()
	for _, i := range order {
		p.Go(func() error {
			m, err := c.Advance(ctx, record(uint64(i+1), 0))
			moved[i+1] = m
			return err
		})
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	var want []uint64
	for v := versions; v > 0 && len(want) < catalog.MaxVersions; v-- {
		if moved[v] {
			want = append(want, uint64(v))
		}
	}
	records, err := c.Versions(ctx, "cities", 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, r := range records {
		got = append(got, r.Version)
	}
	if !moved[versions] || !slices.Equal(got, want) {
		t.Errorf("the catalog has versions %v, want %v", got, want)
	}
}

func TestSurvivesAWipeAndARestart(t *testing.T) {
	ctx, s, _, c := open(t)
	advance(t, ctx, c, record(7, 0), true)
	s.Wipe() // also forgets the script
	if _, err := c.Latest(ctx, "cities"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("after a wipe: %v", err)
	}
	for v := uint64(6); v <= 7; v++ { // a repair indexes what the store has
		advance(t, ctx, c, record(v, 0), true)
	}
	s.Restart()
	advance(t, ctx, c, record(7, 0), false)
	advance(t, ctx, c, record(8, 0), true)
	records, err := c.Versions(ctx, "cities", 0)
	if err != nil || len(records) != 3 {
		t.Errorf("%d versions, %v", len(records), err)
	}
}

func TestFailsFastWithoutTheServer(t *testing.T) {
	ctx, s, _, c := open(t)
	advance(t, ctx, c, record(1, 0), true)
	s.Pause()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := c.Advance(short, record(2, 0)); err == nil {
		t.Error("a frozen server answers")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("a call with a deadline of 50ms took %v", took)
	}
	s.Kill()
	start = time.Now()
	if _, err := c.Latest(ctx, "cities"); err == nil || errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a dead server: %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a call to a dead server took %v", took)
	}
	s.Start()
	if _, err := c.Latest(ctx, "cities"); err != nil {
		t.Error(err)
	}
}

// For any value of a key of the catalog, every call returns an error that names the key, and works again after the key was
// deleted.
func TestCorruptKeysAreNamed(t *testing.T) {
	ctx, _, rdb, c := open(t)
	latest := func() error { _, err := c.Latest(ctx, "cities"); return err }
	versions := func() error { _, err := c.Versions(ctx, "cities", 0); return err }
	move := func() error { _, err := c.Advance(ctx, record(2, 0)); return err }
	names := func() error { _, err := c.Datasets(ctx); return err }
	type calls map[string]func() error
	entry := func(field, value string) func() error {
		return func() error { return rdb.HSet(ctx, citiesKey, field, value).Err() }
	}
	prices := strings.ReplaceAll(string(must(record(1, 0).Encode())), "cities", "prices")
	for name, tc := range map[string]struct {
		key    string
		damage func() error
		calls  calls
	}{
		"other type":         {citiesKey, func() error { return rdb.Set(ctx, citiesKey, "x", 0).Err() }, calls{"latest": latest, "versions": versions, "advance": move}},
		"set of other type":  {datasetsKey, func() error { return rdb.Set(ctx, datasetsKey, "x", 0).Err() }, calls{"advance": move, "datasets": names}},
		"garbage":            {citiesKey, entry("latest", "garbage"), calls{"latest": latest, "versions": versions, "advance": move}},
		"broken JSON":        {citiesKey, entry("latest", "00000000000000000001\n{\n[]"), calls{"latest": latest, "versions": versions}},
		"broken deltas":      {citiesKey, entry("latest", "00000000000000000001\n"+strings.ReplaceAll(prices, "prices", "cities")+"\n[{]"), calls{"latest": latest, "versions": versions}},
		"other dataset":      {citiesKey, entry("latest", "00000000000000000001\n"+prices+"\n[]"), calls{"latest": latest, "versions": versions}},
		"garbage in history": {citiesKey, entry("00000000000000000001", ""), calls{"versions": versions}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.damage(); err != nil {
				t.Fatal(err)
			}
			for name, call := range tc.calls {
				if err := call(); !errors.Is(err, catalog.ErrCorrupt) || !strings.Contains(err.Error(), tc.key) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := rdb.Del(ctx, tc.key).Err(); err != nil {
				t.Fatal(err)
			}
			advance(t, ctx, c, record(2, 0), true)
			for name, call := range (calls{"latest": latest, "versions": versions, "datasets": names}) {
				if err := call(); err != nil {
					t.Errorf("after the key was deleted: %s: %v", name, err)
				}
			}
			if err := rdb.FlushAll(ctx).Err(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDatasets(t *testing.T) {
	ctx, _, _, c := open(t)
	for _, name := range []string{"prices", "cities", "ip-ranges"} {
		r := record(1, 0)
		r.Dataset = name
		advance(t, ctx, c, r, true)
	}
	names, err := c.Datasets(ctx)
	if want := []string{"cities", "ip-ranges", "prices"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("Datasets = %v, %v, want %v", names, err, want)
	}
}

func TestConnectRefusesOtherURLs(t *testing.T) {
	for _, url := range []string{"", "localhost:6379", "http://localhost", "redis://localhost/zero"} {
		if _, err := catalog.Connect(url); err == nil || !strings.Contains(err.Error(), "redis://") {
			t.Errorf("Connect(%q): %v", url, err)
		}
	}
	rdb, err := catalog.Connect("redis://localhost:1/0?read_timeout=7s")
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	o := rdb.(*redis.Client).Options()
	if o.ReadTimeout != 7*time.Second || o.WriteTimeout != 2*time.Second {
		t.Errorf("timeouts of %v and %v, want that of the URL and the default", o.ReadTimeout, o.WriteTimeout)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint("a test's own data: ", err))
	}
	return v
}
