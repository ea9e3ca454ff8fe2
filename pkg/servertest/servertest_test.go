package servertest

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestRedisKeepsItsDataThroughStopAndKill(t *testing.T) {
	ctx, s := testContext(t), Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr, DialerRetries: 1, MaxRetries: -1})
	defer rdb.Close()
	for name, end := range map[string]func(){"stop": s.Stop, "kill": s.Kill} {
		if err := rdb.Set(ctx, "key", name, 0).Err(); err != nil {
			t.Fatal(err)
		}
		end()
		if s.Running() || s.PID() != 0 {
			t.Fatalf("%s: still runs", name)
		}
		if err := rdb.Ping(ctx).Err(); err == nil {
			t.Fatalf("%s: still answers", name)
		}
		s.Start()
		if got := rdb.Get(ctx, "key").Val(); got != name {
			t.Errorf("%s: after a start on the same data the key is %q", name, got)
		}
	}
	s.Wipe()
	if n := rdb.DBSize(ctx).Val(); n != 0 {
		t.Errorf("%d keys after Wipe", n)
	}
}

func TestNATSKeepsItsDataThroughStopAndKill(t *testing.T) {
	ctx, s := testContext(t), NATS(t, NATSConfig("max_payload: 2MB"))
	nc, err := nats.Connect(s.URL, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := nc.MaxPayload(); got != 2<<20 {
		t.Errorf("max payload is %d: the added configuration is not in use", got)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for i, end := range []func(){s.Stop, s.Kill} {
		if _, err := js.Publish(ctx, "s", nil); err != nil {
			t.Fatal(err)
		}
		end()
		s.Start()
		if err := s.cmd.ready(ctx); err != nil {
			t.Fatal(err)
		}
		if err := nc.FlushWithContext(ctx); err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(ctx, "S")
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.Msgs; got != uint64(i+1) {
			t.Errorf("%d messages after end %d", got, i)
		}
	}
}

func TestPausedServerDoesNotAnswer(t *testing.T) {
	s := Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, ReadTimeout: 50 * time.Millisecond})
	defer rdb.Close()
	s.Pause()
	if err := rdb.Ping(t.Context()).Err(); err == nil {
		t.Error("a paused server answers")
	}
	s.Resume()
	if err := s.cmd.ready(testContext(t)); err != nil {
		t.Error(err)
	}
	s.Pause()
	s.Stop()
}

func TestClusterReplicates(t *testing.T) {
	ctx, c := testContext(t), Cluster(t, 3)
	nc, err := nats.Connect(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	leader := stream.CachedInfo().Cluster.Leader
	if c.Node(leader) == nil {
		t.Errorf("the leader %q is none of the cluster's nodes", leader)
	}
}

// A test that gets a port has it until its end: a server on it starts later, and may be restarted.
func TestFreePortIsReserved(t *testing.T) {
	var port int
	t.Run("taken", func(t *testing.T) {
		port = FreePort(t)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if second, err := net.ListenPacket("udp", address); err == nil {
			_ = second.Close()
			t.Errorf("another test could reserve port %d", port)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("the server of the test cannot listen: %v", err)
		}
		_ = l.Close()
	})
	again, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatalf("port %d is reserved after the end of the test: %v", port, err)
	}
	_ = again.Close()
}
