package events_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"github.com/nats-io/nats.go"
)

func TestConnectRefusesOnlyMalformedURLs(t *testing.T) {
	discard := slog.New(slog.DiscardHandler)
	for _, url := range []string{"nats://local host:x", "nats://h:4222, nats://hunter2 @h", "nats://user:hunter2@h:port", "user:hunter2@h:port", "http://hunter2@h", ""} {
		if _, err := events.Connect(url, "test", discard); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
	// Nothing listens on port 1.
	for _, url := range []string{"nats://127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1, tls://user@127.0.0.1:1"} {
		nc, err := events.Connect(url, "test", discard)
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
	}
}

// The client's own limit is 60 attempts.
func TestReconnectsForever(t *testing.T) {
	ctx, s, _, log := start(t)
	announce(t, ctx, log, "cities", 1)
	var attempts atomic.Int32
	nc := connect(t, s.URL, nats.ReconnectErrHandler(func(*nats.Conn, error) { attempts.Add(1) }))
	l, _ := listen(t, ctx, nc, events.ListenerConfig{}, "cities")
	f := follower{log: newLog(t, nc, events.Config{}), name: "cities"}
	f.until(t, ctx, l, 1)
	s.Stop()
	eventually(t, ctx, "200 attempts", func() bool { return attempts.Load() > 200 })
	s.Start()
	announce(t, ctx, log, "cities", 2)
	f.until(t, ctx, l, 2)
}

func TestFirstConnectionAfterTheFact(t *testing.T) {
	ctx, s, _, log := start(t)
	s.Stop()
	nc := connect(t, s.URL)
	l, _ := listen(t, ctx, nc, events.ListenerConfig{}, "cities")
	if nc.IsConnected() {
		t.Fatal("connected to a stopped server")
	}
	s.Start()
	announce(t, ctx, log, "cities", 1)
	f := follower{log: newLog(t, nc, events.Config{}), name: "cities"}
	f.until(t, ctx, l, 1)
}

// The server refuses a user for a while, as during a faulty rollout of accounts. By default the client closes the connection
// at the second refusal.
func TestRefusedLoginIsTriedAgain(t *testing.T) {
	users := func(password string) []servertest.NATSOption {
		return []servertest.NATSOption{
			servertest.NATSConfig(`authorization { users: [ { user: admin, password: secret }, { user: instance, password: ` + password + ` } ] }`),
			servertest.NATSLogin("admin", "secret"),
		}
	}
	s := servertest.NATS(t, users("right")...)
	ctx := testContext(t)
	var refused atomic.Int32
	nc := connect(t, s.URL, nats.UserInfo("instance", "right"), nats.ReconnectErrHandler(nil),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if strings.Contains(strings.ToLower(err.Error()), "authorization") {
				refused.Add(1)
			}
		}))
	log := newLog(t, nc, events.Config{})
	announce(t, ctx, log, "cities", 1)
	l, _ := listen(t, ctx, nc, events.ListenerConfig{}, "cities")
	f := follower{log: log, name: "cities"}
	f.until(t, ctx, l, 1)

	s.Reconfigure(users("wrong")...)
	s.Restart()
	eventually(t, ctx, "five refusals", func() bool { return refused.Load() > 5 })
	s.Reconfigure(users("right")...)
	s.Restart()
	announce(t, ctx, log, "cities", 2)
	f.until(t, ctx, l, 2)
}

// buffer is a log that a test may read concurrently with writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Invariant: the log has one line for each change of the connection, and never a password or a token (in the URL's user).
func TestConnectionStateIsLogged(t *testing.T) {
	for _, login := range []string{"user:secret", "secret"} {
		t.Run(login, func(t *testing.T) { connectionStateIsLogged(t, login) })
	}
}

func connectionStateIsLogged(t *testing.T, login string) {
	ctx, s, _, _ := start(t)
	var out buffer
	url := strings.Replace(s.URL, "nats://", "nats://"+login+"@", 1)
	nc, err := events.Connect(url, "test", slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	logged := func(what string) {
		t.Helper()
		eventually(t, ctx, "the log says: "+what, func() bool { return strings.Contains(out.String(), what) })
	}
	logged("connected to NATS")
	s.Stop()
	logged("lost the connection to NATS")
	logged("cannot connect to NATS")
	s.Start()
	eventually(t, ctx, "connected again", func() bool { return strings.Count(out.String(), `"connected to NATS"`) == 2 })
	if n := strings.Count(out.String(), "cannot connect to NATS"); n != 1 {
		t.Errorf("%d warnings in one outage", n)
	}
	if strings.Contains(out.String(), "secret") {
		t.Errorf("the log has the password: %s", out.String())
	}
}
