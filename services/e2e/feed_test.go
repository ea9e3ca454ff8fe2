package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// feedMirror has the records that a feed led to.
type feedMirror struct {
	mu       sync.Mutex
	records  map[string]string
	version  uint64
	position string
	resets   int
	full     int // versions that were not made by deltas
	ended    bool
}

// feedEvent is a line of a feed.
type feedEvent struct {
	Event, Op, Key, Position string
	Value                    json.RawMessage
	Version                  uint64
	Full                     bool
}

// follow reads lines of JSON, as curl does, from the mirror's position on. It returns when the feed ends, or ctx.
func (m *feedMirror) follow(ctx context.Context, base, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/datasets/"+name+"/changes?records=true&from="+m.position, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the feed is refused: %s", resp.Status)
	}
	var batch []feedEvent
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 2<<20)
	for in.Scan() {
		var e feedEvent
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			return err
		}
		switch e.Event {
		case "reset":
			batch = []feedEvent{e}
		case "change":
			batch = append(batch, e)
		case "version":
			m.apply(batch, e)
			batch = nil
		case "end":
			m.mu.Lock()
			m.ended = true
			m.mu.Unlock()
		}
	}
	return in.Err()
}

func (m *feedMirror) apply(batch []feedEvent, v feedEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range batch {
		switch {
		case e.Event == "reset":
			m.records = map[string]string{}
			m.resets++
		case e.Op == "removed":
			delete(m.records, e.Key)
		default:
			m.records[e.Key] = string(e.Value)
		}
	}
	if m.version, m.position = v.Version, v.Position; v.Full {
		m.full++
	}
}

// mirrors returns an error unless the mirror has the newest records of the ledger.
func (m *feedMirror) mirrors(l *ledger) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if want := l.history[l.newest()-1]; m.version != l.newest() || !maps.Equal(m.records, want) {
		return fmt.Errorf("the mirror has %d records of version %d, version %d has %d", len(m.records), m.version, l.newest(), len(want))
	}
	return nil
}

// Invariant: programs that follow the change feed of an instance, as lines of JSON and with an EventSource, have the records of
// each version, also after patches, a full publish and a rollback. A reader that reconnects resumes from its version, also after a restart of the
// instance.
func TestChangeFeed(t *testing.T) {
	const name = "prices"
	s := newSystem(t, "", 0, name)
	// A reader that reconnects after two patches resumes if the instance still has the version before. Of a small dataset, a patch of 20
	// records can take more than the default of 15 %.
	instance := start(t, "server", "NATS_URL="+s.NATS.URL, "REDIS_URL="+s.Redis.URL, "RELAYS="+s.Relay.URL, "DATASETS="+name,
		"CACHE_DIR="+t.TempDir(), "INSTANCE=instance-1", "LOG_LEVEL=debug", "KEEP_ROOTS=100")
	l := newLedger(t, s, name, 12_000)
	awaitVersion(t, instance, name, 1)
	m := &feedMirror{position: "0"}
	ctx, cut := context.WithCancel(t.Context())
	done := make(chan error, 1)
	follow := func() { done <- m.follow(ctx, instance.URL, name) }
	go follow()
	browser := startEventSource(t, instance.URL)
	synced := func() {
		t.Helper()
		eventually(t, func(context.Context) error { return m.mirrors(l) })
		eventually(t, func(context.Context) error { return browser.mirrors(l) })
	}
	synced()
	for range 3 {
		l.patch(20)
		synced()
	}
	if m.resets != 1 || m.full != 1 {
		t.Errorf("after patches there were %d resets, and %d versions were full", m.resets, m.full)
	}

	cut()
	<-done // of a connection that was cut
	l.patch(20)
	l.patch(20)
	awaitVersion(t, instance, name, l.newest())
	ctx, cut = context.WithCancel(t.Context())
	defer func() { cut() }()
	go follow()
	synced()
	if m.resets != 1 || m.full != 1 {
		t.Errorf("after a reconnect there were %d resets, and %d versions were full", m.resets, m.full)
	}
	_, next := l.change(3000)
	if _, err := l.send(t.Context(), http.MethodPost, "/versions", lines(next)); err != nil {
		t.Fatal(err)
	}
	l.history = append(l.history, next)
	synced()
	status, _, answer, err := do(t.Context(), http.MethodPost, s.Publisher.URL+"/v1/datasets/"+name+"/rollback?to=2&reason=test", "", nil)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("roll back: %d %s %v", status, answer, err)
	}
	l.history = append(l.history, l.history[1])
	synced()

	instance.Stop()
	if err := <-done; err != nil || !m.ended {
		t.Errorf("the feed of an instance that stopped: %v, ended %t", err, m.ended)
	}
	instance.Start()
	awaitVersion(t, instance, name, l.newest())
	go follow()
	l.patch(20)
	synced()
	if m.resets != 1 {
		t.Errorf("after a restart at the same version there were %d resets", m.resets)
	}
	cut()
	<-done
}

// eventSource is Node.js with npm's eventsource and the program of feed.md.
type eventSource struct {
	mu  sync.Mutex
	now map[string]json.RawMessage
	at  uint64
}

func startEventSource(t *testing.T, base string) *eventSource {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash("../../deployments/docs/feed.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- eventsource -->\n```js\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("feed.md has no program")
	}
	modules, err := filepath.Abs("../../dist/node/node_modules")
	if err == nil {
		_, err = os.Stat(filepath.Join(modules, "eventsource"))
	}
	if err != nil {
		t.Fatalf("this test needs npm's eventsource in dist/node: mkdir -p dist/node && cp scripts/tools/node/*.json dist/node && npm ci --prefix dist/node: %v", err)
	}
	script := filepath.Join(t.TempDir(), "mirror.cjs")
	program := `const { EventSource } = require("eventsource");` + "\n" + strings.ReplaceAll(string(m[1]), "http://127.0.0.1:8482", base)
	if err := os.WriteFile(script, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("run Node.js 18 or later (apt-get install nodejs npm): %v", err)
	}
	e := &eventSource{}
	read := make(chan struct{})
	go func() {
		defer close(read)
		in := bufio.NewScanner(out)
		in.Buffer(nil, 16<<20)
		for in.Scan() {
			version, records, _ := strings.Cut(in.Text(), " ")
			e.mu.Lock()
			e.now = nil
			_, err := fmt.Sscan(version, &e.at)
			if err == nil {
				err = json.Unmarshal([]byte(records), &e.now)
			}
			if err != nil {
				e.at = 0
			}
			e.mu.Unlock()
		}
		if err := in.Err(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Errorf("read the output of Node.js: %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // killed
	})
	return e
}

// mirrors returns an error unless the program has the newest records of the ledger.
func (e *eventSource) mirrors(l *ledger) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	got := map[string]string{}
	for key, value := range e.now {
		got[key] = string(value)
	}
	if want := l.history[l.newest()-1]; e.at != l.newest() || !maps.Equal(got, want) {
		return fmt.Errorf("the EventSource has %d records of version %d, version %d has %d", len(got), e.at, l.newest(), len(want))
	}
	return nil
}
