package resp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"freshet.dev/pkg/servertest"
	"freshet.dev/scripts/benchmarks/internal/system"
)

// configuration is what the servers and redis-benchmark run on.
type configuration struct {
	name string
	// server and client are the processors for taskset; empty means all.
	server, client string
	count          int // of the server
}

// processors are the configurations.
var processors = []configuration{
	{"one processor for the server, another for redis-benchmark", "0", "1", 1},
	{"two processors for both", "", "", 2},
}

// server is one of the two servers.
type server struct {
	name    string
	addr    string // of Redis' protocol
	http    string // the URL of HTTP; empty for redis-server
	process *servertest.Process
}

// servedWithin bounds the start of a server.
const servedWithin = time.Minute

// startBoth starts a redis-server and a freshet-server with the same records.
func (b *bench) startBoth(ctx context.Context, s *system.System, c configuration) (both [2]server, err error) {
	both[0] = startRedis(s, c)
	if err := b.fill(ctx, both[0].addr); err != nil {
		return both, err
	}
	port := strconv.Itoa(s.FreePort())
	url, process := s.Measured(nil, c.server, "NATS_URL="+s.NATS, "RELAYS="+s.Relay, "DATASETS="+name, "CACHE_DIR="+s.TempDir(), "INSTANCE=resp",
		"RESP_LISTEN=127.0.0.1:"+port, "GOMAXPROCS="+strconv.Itoa(c.count))
	both[1] = server{"freshet-server", net.JoinHostPort("127.0.0.1", port), url, process}
	for _, one := range both {
		for start := time.Now(); ; time.Sleep(20 * time.Millisecond) { // until it serves the dataset
			err := b.check(ctx, one.addr)
			if err == nil {
				break
			}
			if ctx.Err() != nil || time.Since(start) > servedWithin {
				return both, fmt.Errorf("%s has no records after %s: %w", one.name, servedWithin, err)
			}
		}
	}
	return both, nil
}

// startRedis starts a redis-server that writes nothing to disk.
func startRedis(s *system.System, c configuration) server {
	port := strconv.Itoa(s.FreePort())
	addr := net.JoinHostPort("127.0.0.1", port)
	args := []string{"--port", port, "--bind", "127.0.0.1", "--dir", s.TempDir(), "--save", "", "--appendonly", "no", "--daemonize", "no"}
	path := "redis-server"
	if c.server != "" {
		args, path = append([]string{"-c", c.server, path}, args...), "taskset" // which replaces itself by the program
	}
	p := s.Start(servertest.Program{Name: "redis-server-measured", Path: path, Args: args, Ready: func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}})
	return server{name: "redis-server", addr: addr, process: p}
}

func (s server) stop() error {
	if s.process == nil {
		return nil
	}
	s.process.Stop()
	if s.process.Running() {
		return errors.New(s.name + " runs on after SIGTERM")
	}
	return nil
}
