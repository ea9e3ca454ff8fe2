package brokers

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNATSKeepsItsStreams publishes to a stream, stops the server, and reads the message from a new one on the same
// folder.
func TestNATSKeepsItsStreams(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cfg := NATSConfig{Host: "127.0.0.1", Dir: t.TempDir()}

	visit := func(do func(js jetstream.JetStream)) {
		t.Helper()
		server, err := OpenNATS(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		conn, err := nats.Connect(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		do(js)
	}
	visit(func(js jetstream.JetStream) {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(ctx, "s.a", []byte("kept")); err != nil {
			t.Fatal(err)
		}
	})
	visit(func(js jetstream.JetStream) {
		stream, err := js.Stream(ctx, "S")
		if err != nil {
			t.Fatal(err)
		}
		msg, err := stream.GetLastMsgForSubject(ctx, "s.a")
		if err != nil || string(msg.Data) != "kept" {
			t.Fatalf("the message after a restart is %v, %v", msg, err)
		}
	})
}

func TestRedisAnswers(t *testing.T) {
	server, err := OpenRedis("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	opts, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	if err := rdb.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v, err := rdb.Get(t.Context(), "k").Result(); v != "v" || err != nil {
		t.Fatalf("got %q, %v", v, err)
	}
}

func TestBusyPorts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port

	if _, err := OpenNATS(t.Context(), NATSConfig{Host: "127.0.0.1", Port: port, Dir: t.TempDir()}); !errors.Is(err, ErrPortBusy) {
		t.Errorf("NATS: got %v, want ErrPortBusy", err)
	}
	if _, err := OpenRedis("127.0.0.1", port); !errors.Is(err, ErrPortBusy) {
		t.Errorf("Redis: got %v, want ErrPortBusy", err)
	}
}

// TestNATSBelowAFile uses a folder that cannot be created, even by root.
func TestNATSBelowAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "nats")
	_, err := OpenNATS(t.Context(), NATSConfig{Host: "127.0.0.1", Dir: dir})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v, want an error that names %s", err, dir)
	}
}

func TestNATSStopsStartingWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	server, err := OpenNATS(ctx, NATSConfig{Host: "127.0.0.1", Dir: t.TempDir()})
	if err == nil {
		server.Close() // it was ready before the first look at ctx
	} else if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
