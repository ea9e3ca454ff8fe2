package brokers

import (
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/alicebob/miniredis/v2"
)

// Redis is a Redis server in this process with its data in memory.
type Redis struct {
	server *miniredis.Miniredis
	close  sync.Once
}

// OpenRedis starts a Redis server on host and port; port 0 selects a free port. The error wraps [ErrPortBusy] if the port is in
// use.
func OpenRedis(host string, port int) (*Redis, error) {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
		server.CtxCancel()
		return nil, fmt.Errorf("start the Redis server: %w", listenError(err))
	}
	return &Redis{server: server}, nil
}

// URL returns the address to connect to.
func (r *Redis) URL() string { return "redis://" + r.server.Addr() + "/0" }

// Close stops the server and returns when it has stopped.
func (r *Redis) Close() { r.close.Do(r.server.Close) }
