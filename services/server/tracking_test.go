package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/settings"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// cachedCities is a server with 2,000 records of cities, whose versions differ in few, and Redis' protocol.
type cachedCities struct {
	t         *testing.T
	i         *instance
	port      string
	publisher *publish.Publisher
	values    map[string]int
	version   int
}

func newCachedCities(t *testing.T) *cachedCities {
	nats, s, publisher := newPipeline(t)
	w := &cachedCities{t: t, values: make(map[string]int), publisher: publisher}
	for i := range 2000 {
		w.values[fmt.Sprint("k", i)] = rand.Int()
	}
	w.publish()
	cfg := config()
	cfg.Datasets, cfg.NatsURL, cfg.Relays, cfg.CacheDir = []string{"cities"}, settings.URL(nats.URL), []string{relayOf(t, s).URL}, t.TempDir()
	cfg.RespListen, cfg.RespConnections, cfg.RespOutputBytes, cfg.RespTrackedKeys = "0", 1000, 8<<20, 1000
	i, srv := runServer(t, cfg)
	t.Cleanup(i.stop)
	w.i = i
	var err error
	if _, w.port, err = net.SplitHostPort(srv.RespAddr()); err != nil {
		t.Fatal(err)
	}
	w.i.until("/readyz", 200, "ready")
	return w
}

// publish publishes the values as the next version, with changes.
func (w *cachedCities) publish(changed ...string) {
	w.t.Helper()
	for _, key := range changed {
		w.values[key] = rand.Int()
	}
	var b strings.Builder
	for key, value := range w.values {
		fmt.Fprintf(&b, "{\"id\":%q,\"v\":%d}\n", key, value)
	}
	if _, err := w.publisher.Publish(w.t.Context(), "cities", publish.Input{Body: strings.NewReader(b.String()), Key: "id"}); err != nil {
		w.t.Fatal(err)
	}
	w.version++
}

func (w *cachedCities) value(key string) string {
	return fmt.Sprintf(`{"id":%q,"v":%d}`, key, w.values[key])
}

// raw is a connection that speaks inline commands and returns lines.
func (w *cachedCities) raw() (say func(format string, args ...any), line func() string) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+w.port)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	r := bufio.NewReader(conn)
	say = func(format string, args ...any) {
		if _, err := fmt.Fprintf(conn, format+"\r\n", args...); err != nil {
			w.t.Error(err)
		}
	}
	line = func() string {
		s, err := r.ReadString('\n')
		if err != nil {
			w.t.Fatal(err)
		}
		return strings.TrimSpace(s)
	}
	say("hello 3")
	for line() != "*0" { // the end of the map
	}
	return say, line
}

func wantLines(t *testing.T, line func() string, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := line(); got != w {
			t.Fatalf("got %q, want %q of %q", got, w, want)
		}
	}
}

// With a real subscriber and stock clients, versions that differ in few records invalidate exactly these.
func TestClientSideCaches(t *testing.T) {
	w := newCachedCities(t)
	t.Run("raw", w.testRaw)
	t.Run("redis-cli", w.testRedisCLI)
	t.Run("node", w.testNode)
	t.Run("go-redis", w.testGoRedis)
	w.i.until("/metrics", 200, "freshet_resp_tracking_invalidations_total ")
	w.i.until("/metrics", 200, "freshet_resp_tracking_clients 1\n") // the raw connection in BCAST mode
}

// FRESHET_RESP_TRACKED_KEYS is bounded from below, and 0 switches tracking off; so does a source whose swaps cannot be followed.
func TestTrackedKeysSetting(t *testing.T) {
	cfg := respConfig(t)
	cfg.RespTrackedKeys = -1
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "FRESHET_RESP_TRACKED_KEYS") {
		t.Errorf("%v", err)
	}
	for _, keys := range []int{0, 10} {
		cfg.RespTrackedKeys = keys
		_, port := runResp(t, cfg)
		got := tool(t, redisTools, "redis-cli", "-3", "-p", port, "--no-auth-warning", "-a", respPassword, "client", "tracking", "on")
		if !strings.Contains(got, "client tracking is switched off on this server") {
			t.Error(got)
		}
	}
}

func (w *cachedCities) testRaw(t *testing.T) {
	// The first call of the tracker's callback is a flush, and may come late. It has passed once a version invalidates keys.
	first, pushed := w.raw()
	first("client tracking on bcast")
	wantLines(t, pushed, "+OK")
	for keys := ""; keys != "*1"; {
		w.publish("first")
		wantLines(t, pushed, ">2", "$10", "invalidate")
		keys = pushed() // _ is a flush
	}
	wantLines(t, pushed, "$12", "cities:first")
	first("client tracking off")
	wantLines(t, pushed, "+OK")
	say, line := w.raw()
	say("client tracking on")
	wantLines(t, line, "+OK")
	say("exists cities:k1 cities:k2 cities:new")
	wantLines(t, line, ":2")
	all, bcast := w.raw()
	all("client tracking on bcast prefix cities:k1")
	wantLines(t, bcast, "+OK")
	w.publish("k1", "k3", "new")
	invalidated := func(line func() string, want ...string) {
		t.Helper()
		wantLines(t, line, ">2", "$10", "invalidate", fmt.Sprint("*", len(want)))
		left := make(map[string]bool)
		for _, key := range want {
			left[key] = true
		}
		for range want {
			line()
			if key := line(); !left[key] {
				t.Fatalf("%s was invalidated, want %q", key, want)
			}
		}
	}
	invalidated(line, "cities:k1", "cities:new")
	invalidated(bcast, "cities:k1")
	w.publish("k1", "k2")
	invalidated(line, "cities:k2")
	invalidated(bcast, "cities:k1")
	say("get cities:k1")
	wantLines(t, line, fmt.Sprint("$", len(w.value("k1"))), w.value("k1"))
	say("client tracking off")
	wantLines(t, line, "+OK")
}

func (w *cachedCities) testRedisCLI(t *testing.T) {
	cli := exec.CommandContext(t.Context(), "redis-cli", "-3", "--show-pushes", "yes", "-p", w.port)
	in, err := cli.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cli.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cli.Start(); err != nil {
		t.Fatalf("redis-cli: %s: %v", redisTools, err)
	}
	lines := bufio.NewScanner(out)
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("redis-cli ended without %q: %v", want, lines.Err())
	}
	io.WriteString(in, "client tracking on\nget cities:k5\n")
	until(fmt.Sprint(w.values["k5"]))
	w.publish("k5")
	w.i.until(records+"k5", 200, fmt.Sprint(w.values["k5"]))
	go func() { // redis-cli shows pushes when it reads a reply
		poll := time.NewTicker(20 * time.Millisecond)
		defer poll.Stop()
		for range poll.C {
			if _, err := io.WriteString(in, "ping\n"); err != nil {
				return
			}
		}
	}()
	until("invalidate")
	until("cities:k5")
	in.Close()
	_, _ = io.Copy(io.Discard, out)
	if err := cli.Wait(); err != nil {
		t.Error(err)
	}
}

func (w *cachedCities) testNode(t *testing.T) {
	modules, err := filepath.Abs("../../dist/node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "testdata/node/cache.js", w.port)
	node.Env = append(os.Environ(), "NODE_PATH="+modules)
	node.Stderr = os.Stderr
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		if !lines.Scan() || lines.Text() != "reads "+w.value("k1") {
			t.Fatalf("node says %q, want %s (TestNodeClient says what it needs)", lines.Text(), w.value("k1"))
		}
		w.publish("k1", "k7")
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	if err := node.Wait(); err != nil {
		t.Error(err)
	}
}

// Clients of go-redis with caches read while versions are swapped in. In the end each reads what is served, and most from its cache.
func (w *cachedCities) testGoRedis(t *testing.T) {
	var clients []*redis.Client
	for range 3 {
		c := redis.NewClient(&redis.Options{
			Addr: "127.0.0.1:" + w.port, Protocol: 3, PoolSize: 4, ClientSideCacheConfig: &redis.ClientSideCacheConfig{},
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		defer c.Close()
		clients = append(clients, c)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	keys := make([]string, 50)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	var reading sync.WaitGroup
	for _, c := range clients {
		for range 2 {
			reading.Go(func() {
				pace := time.NewTicker(200 * time.Microsecond) // leave the processors to the server
				defer pace.Stop()
				for ; ctx.Err() == nil; <-pace.C {
					if err := c.Get(ctx, "cities:"+keys[rand.IntN(len(keys))]).Err(); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	for range 15 {
		w.publish(keys[rand.IntN(len(keys))], keys[rand.IntN(len(keys))], "k100")
	}
	w.i.until(records+"k100", 200, fmt.Sprint(w.values["k100"]))
	stop()
	reading.Wait()
	for _, c := range clients {
		for _, key := range keys {
			w.awaitValue(t, c, key)
		}
		if s := c.CSCStats(); s.Hits < s.Misses || s.Hits == 0 {
			t.Errorf("%+v", s)
		}
	}
}

// awaitValue reads the key until its value is the published one: invalidations take a moment.
func (w *cachedCities) awaitValue(t *testing.T, c *redis.Client, key string) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-poll.C {
		got, err := c.Get(t.Context(), "cities:"+key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got == w.value(key) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a cache keeps %s, served is %s", got, w.value(key))
		}
	}
}
