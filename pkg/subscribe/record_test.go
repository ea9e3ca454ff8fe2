package subscribe_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/subscribe"
)

// written returns the records of the instances in Redis, by id.
func (w *world) written(c *catalog.Catalog) map[string]fleet.Status {
	w.t.Helper()
	all, err := c.Instances(w.context())
	if err != nil {
		w.t.Fatal(err)
	}
	byName := map[string]fleet.Status{}
	for _, i := range all {
		var s fleet.Status
		if err := json.Unmarshal(i.Status, &s); err != nil {
			w.t.Fatalf("%v in %s", err, i.Status)
		}
		byName[s.Instance] = s
	}
	return byName
}

func openCatalog(t *testing.T, url, namespace string) *catalog.Catalog {
	t.Helper()
	rdb, err := catalog.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return catalog.New(rdb, namespace)
}

// Invariant: while an instance lives its record has its status, soon after each swap and each failure, and after
// Redis was wiped; when it is closed the record is gone.
func TestInstanceKeepsARecord(t *testing.T) {
	w, redis := newWorld(t), servertest.Redis(t)
	c := openCatalog(t, redis.URL, "")
	cfg := w.config("prices")
	cfg.Redis = redis.URL
	s, err := subscribe.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the record", func() bool { _, ok := w.written(c)["i1"]; return ok })
	for version := uint64(1); version <= 2; version++ {
		w.publish("prices", version)
		await(t, "the version in the record", func() bool {
			d, _ := w.written(c)["i1"].Dataset("prices")
			return d.Version == version
		})
	}
	redis.Wipe()
	w.publish("prices", 3)
	await(t, "the record after a wipe", func() bool {
		d, _ := w.written(c)["i1"].Dataset("prices")
		return d.Version == 3
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if all := w.written(c); len(all) != 0 {
		t.Errorf("after Close there is a record: %+v", all)
	}
}

// Invariant: without a Redis, or with one that hangs, an instance does all that it does with one, and as fast.
func TestRecordWithoutRedis(t *testing.T) {
	w, redis := newWorld(t), servertest.Redis(t)
	cfg := w.config("prices")
	cfg.Redis = redis.URL
	redis.Pause()
	began := time.Now()
	s := open(t, cfg)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("opening took %v", took)
	}
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	redis.Kill()
	w.publish("prices", 2)
	awaitVersion(t, s, "prices", 2)
	began = time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
}

// A pool that cannot keep the connections that it must keep is named before anything starts.
func TestPoolOfRedisIsChecked(t *testing.T) {
	cfg := subscribe.Config{NATS: "nats://127.0.0.1:1", Relays: []string{"http://127.0.0.1:1"}, Datasets: []string{"prices"}}
	for query, want := range map[string]string{
		"pool_size=2&min_idle_conns=3": "Redis is wrong: the sizes of the pool contradict each other: min_idle_conns or max_idle_conns is 3, above pool_size, which is 2",
		"max_idle_conns=17":            "pool_size, which is 16",
		"pool_size=3&min_idle_conns=3": "",
	} {
		cfg.Redis = "redis://h:1?" + query
		if err := cfg.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
}

func TestRedisURLIsChecked(t *testing.T) {
	for _, url := range []string{
		"localhost:6379", "http://hunter2@h", "redis://:hunter2@h:port", "redis://:hunter2@h/zero", "redis://", "redis://:hunter2@h?hunter2=1", "redis://u:hunter2%zz@h",
	} {
		cfg := subscribe.Config{NATS: "nats://127.0.0.1:1", Relays: []string{"http://127.0.0.1:1"}, Datasets: []string{"prices"}, Redis: url}
		err := cfg.Check()
		if !errors.Is(err, subscribe.ErrConfig) || !strings.Contains(err.Error(), "Redis ") || !strings.Contains(err.Error(), "redis://[") {
			t.Errorf("%s: %v", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}
