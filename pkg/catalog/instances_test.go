package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/catalog"
)

// instances returns the ids and the statuses of the records.
func instances(t *testing.T, ctx context.Context, c *catalog.Catalog) string {
	t.Helper()
	all, err := c.Instances(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, i := range all {
		if i.Age > time.Minute {
			t.Errorf("the record of %s has the age %v", i.ID, i.Age)
		}
		fmt.Fprintf(&b, "%s=%s;", i.ID, i.Status)
	}
	return b.String()
}

func keep(t *testing.T, ctx context.Context, c *catalog.Catalog, id, status string) {
	t.Helper()
	if err := c.RecordInstance(ctx, id, []byte(status)); err != nil {
		t.Fatal(err)
	}
}

func TestInstanceRecords(t *testing.T) {
	ctx, s, rdb, c := open(t)
	if got := instances(t, ctx, c); got != "" {
		t.Errorf("an empty Redis: %s", got)
	}
	keep(t, ctx, c, "b", "1")
	keep(t, ctx, c, "a", "1")
	keep(t, ctx, c, "b", "2")
	if got := instances(t, ctx, c); got != "a=1;b=2;" {
		t.Errorf("the records are %s", got)
	}
	ttl, err := rdb.PTTL(ctx, "freshet:v1:{catalog}:instance:b").Result()
	if err != nil || ttl <= 0 || ttl > catalog.InstanceTTL {
		t.Errorf("the record lives for %v, %v", ttl, err)
	}
	if err := c.ForgetInstance(ctx, "a"); err != nil {
		t.Error(err)
	}
	if err := c.ForgetInstance(ctx, "never there"); err != nil {
		t.Error(err)
	}
	if got := instances(t, ctx, c); got != "b=2;" {
		t.Errorf("the records are %s", got)
	}
	s.Wipe() // also forgets the script
	if got := instances(t, ctx, c); got != "" {
		t.Errorf("after a wipe: %s", got)
	}
	keep(t, ctx, c, "b", "3")
	s.Restart()
	keep(t, ctx, c, "b", "4")
	if got := instances(t, ctx, c); got != "b=4;" {
		t.Errorf("after a restart: %s", got)
	}
}

// Invariant: a record that is not written again expires, with its entry in the index. While one instance lives, no key of a dead instance
// remains.
func TestInstanceRecordsExpire(t *testing.T) {
	ctx, _, rdb, c := open(t)
	keep(t, ctx, c, "dead", "1")
	keep(t, ctx, c, "alive", "1")
	// The record expires before its entry, or after it.
	const index, key = "freshet:v1:{catalog}:instances", "freshet:v1:{catalog}:instance:dead"
	if err := rdb.Del(ctx, key).Err(); err != nil {
		t.Fatal(err)
	}
	if got := instances(t, ctx, c); got != "alive=1;" {
		t.Errorf("the records are %s", got)
	}
	if err := rdb.Set(ctx, key, "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := rdb.ZIncrBy(ctx, index, -float64(catalog.InstanceTTL.Milliseconds()), "dead").Err(); err != nil {
		t.Fatal(err)
	}
	if got := instances(t, ctx, c); got != "alive=1;" {
		t.Errorf("the records are %s", got)
	}
	keep(t, ctx, c, "alive", "2")
	if n, err := rdb.ZCard(ctx, index).Result(); err != nil || n != 1 {
		t.Errorf("the index has %d entries, %v", n, err)
	}
}

func TestManyInstances(t *testing.T) {
	ctx, _, _, c := open(t)
	const many = 200
	for i := range many {
		keep(t, ctx, c, fmt.Sprint(i), "x")
	}
	if all, err := c.Instances(ctx); err != nil || len(all) != many {
		t.Errorf("%d records, %v; want %d", len(all), err, many)
	}
}

func TestInstanceRecordsRefuse(t *testing.T) {
	ctx, s, rdb, c := open(t)
	if err := c.RecordInstance(ctx, "a", bytes.Repeat([]byte("x"), catalog.MaxInstanceBytes+1)); !errors.Is(err, catalog.ErrTooLarge) {
		t.Errorf("a record that is too large: %v", err)
	}
	const index = "freshet:v1:{catalog}:instances"
	if err := rdb.Set(ctx, index, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, list := c.Instances(ctx)
	for what, err := range map[string]error{"record": c.RecordInstance(ctx, "a", nil), "forget": c.ForgetInstance(ctx, "a"), "list": list} {
		if !errors.Is(err, catalog.ErrCorrupt) || !strings.Contains(err.Error(), index) {
			t.Errorf("%s in a corrupt index: %v", what, err)
		}
	}
	s.Pause()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := c.RecordInstance(short, "a", nil); err == nil {
		t.Error("a frozen server answers")
	}
}

// Each process has its own id, whatever text the names are.
func TestInstanceIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range []string{"", "a", "a/b", "a b", "{x}", "é\n"} {
		for _, host := range []string{"", "b", "b/1"} {
			for _, pid := range []int{1, 11} {
				id := catalog.InstanceID(name, host, pid)
				if seen[id] || strings.ContainsAny(id, " {}\n") {
					t.Errorf("the id of %q on %q, %d is %s", name, host, pid, id)
				}
				seen[id] = true
			}
		}
	}
}
