package servertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisServer is a redis-server that keeps its data in an append-only file.
type RedisServer struct {
	*Process
	// Addr is host:port.
	Addr string
	// URL is redis://host:port/0.
	URL string
}

// Redis starts a redis-server.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	path := program(t, "redis-server", "apt-get install redis-server (Debian, Ubuntu) or brew install redis")
	s := &RedisServer{}
	startOnFreePort(t, 1, func(ports []int) *Process {
		dir := t.TempDir()
		s.Addr = loopback(ports[0])
		s.URL = "redis://" + s.Addr + "/0"
		s.Process = newProcess(t, command{
			name: "redis-server",
			path: path,
			args: []string{
				"--port", strconv.Itoa(ports[0]), "--bind", "127.0.0.1", "--dir", dir,
				"--appendonly", "yes", "--save", "", "--daemonize", "no",
			},
			dir:   dir,
			ready: pingRedis(s.Addr),
		})
		return s.Process
	})
	return s
}

// Wipe deletes every key of every database (FLUSHALL) and every cached script.
func (s *RedisServer) Wipe() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer rdb.Close()
	if err := rdb.FlushAll(ctx).Err(); err != nil {
		s.t.Fatalf("wipe redis-server: %v", err)
	}
	if err := rdb.ScriptFlush(ctx).Err(); err != nil {
		s.t.Fatalf("wipe the scripts of redis-server: %v", err)
	}
}

// pingRedis returns a readiness check. It does not use the client, whose pool would log every refused connection of a start.
func pingRedis(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		d := net.Dialer{Timeout: time.Second}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
			return err
		}
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && answer != "+PONG\r\n" {
			err = fmt.Errorf("redis-server answers PING with %q", answer) // while it loads its data
		}
		return err
	}
}
