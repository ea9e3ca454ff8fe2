package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Invariant: Redis holds version metadata only: after ten versions under 64 KiB a dataset, and nothing that a record's
// value holds.
func TestRedisHoldsMetadataOnly(t *testing.T) {
	const name, versions, limit = "browser-compat", 10, 64 << 10
	s := newSystem(t, "", 1, name)
	all := shipped(t)
	for len(all) < versions {
		all = append(all, marked(t, all[len(all)-8], len(all)))
	}
	values := map[string]bool{}
	for _, e := range all[:versions] {
		for _, value := range e.records(t) {
			values[value] = true
		}
		s.post(t, name, e)
	}
	awaitVersion(t, s.Instances[0], name, versions)

	rdb := redis.NewClient(&redis.Options{Addr: s.Redis.Addr})
	defer rdb.Close()
	ctx := t.Context()
	keys, err := rdb.Keys(ctx, "*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatalf("keys are %q: %v", keys, err)
	}
	var total int64
	for _, key := range keys {
		n, err := rdb.MemoryUsage(ctx, key, 0).Result() // 0 samples: every element is counted
		if err != nil {
			t.Fatal(err)
		}
		total += n
		text := content(ctx, t, rdb, key)
		for value := range values {
			// The value whole, or what it has beside its key.
			if _, rest, ok := strings.Cut(value, `,`); strings.Contains(text, value) || ok && len(rest) > 20 && strings.Contains(text, rest) {
				t.Fatalf("the key %s holds a record's value: %s", key, value)
			}
		}
	}
	t.Logf("%d keys in Redis have %d bytes after %d versions", len(keys), total, versions)
	if total >= limit {
		t.Errorf("%d bytes in Redis, want under %d", total, limit)
	}
}

// content returns the value of the key as text.
func content(ctx context.Context, t *testing.T, rdb *redis.Client, key string) string {
	t.Helper()
	kind, err := rdb.Type(ctx, key).Result()
	if err != nil {
		t.Fatal(err)
	}
	var all any
	switch kind {
	case "string":
		all, err = rdb.Get(ctx, key).Result()
	case "hash":
		all, err = rdb.HGetAll(ctx, key).Result()
	case "list":
		all, err = rdb.LRange(ctx, key, 0, -1).Result()
	case "set":
		all, err = rdb.SMembers(ctx, key).Result()
	case "zset":
		all, err = rdb.ZRangeWithScores(ctx, key, 0, -1).Result()
	default:
		t.Fatalf("the key %s is a %s: teach this test to read it", key, kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all)
}

// marked returns the edition with one additional record.
func marked(t *testing.T, e edition, n int) edition {
	t.Helper()
	rows := e.records(t)
	key := fmt.Sprintf("marked.%d", n)
	rows[key] = fmt.Sprintf(`{"key":%q,"mark":%d}`, key, n)
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintln(zw, rows[k])
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return edition{name: fmt.Sprintf("%s+%d", e.name, n), gzip: b.Bytes()}
}
