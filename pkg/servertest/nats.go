package servertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATSServer is a nats-server with JetStream on file storage.
type NATSServer struct {
	*Process
	// Name is the server's name, in a cluster "n1", "n2" ...
	Name string
	// URL is nats://host:port.
	URL string
	// config is the path of the configuration file, fixed the part of it that no option changes.
	config string
	fixed  []string
	// login has the credentials of the readiness check; nil for none.
	login nats.Option
}

// NATSOption configures a nats-server.
type NATSOption func(*natsOptions)

type natsOptions struct {
	config []string
	login  nats.Option
}

// NATSConfig adds lines to the server's configuration file.
func NATSConfig(lines ...string) NATSOption {
	return func(o *natsOptions) { o.config = append(o.config, lines...) }
}

// NATSLogin sets the credentials of the readiness check, for a configuration that requires a user. The user needs permission
// for the JetStream API.
func NATSLogin(user, password string) NATSOption {
	return func(o *natsOptions) { o.login = nats.UserInfo(user, password) }
}

// NATS starts a single nats-server.
func NATS(t testing.TB, opts ...NATSOption) *NATSServer {
	t.Helper()
	path := program(t, "nats-server", installTools)
	s := &NATSServer{Name: "n1"}
	startOnFreePort(t, 1, func(ports []int) *Process {
		s.configure(t, path, ports[0], nil, opts)
		return s.Process
	})
	return s
}

// NATSCluster is a cluster of nats-servers with replicated JetStream.
type NATSCluster struct {
	Nodes []*NATSServer
	// URL lists the URLs of all nodes, separated by commas.
	URL string
}

// Cluster starts nodes nats-servers as one cluster.
func Cluster(t testing.TB, nodes int, opts ...NATSOption) *NATSCluster {
	t.Helper()
	path := program(t, "nats-server", installTools)
	routes := make([]int, nodes)
	for i := range routes {
		routes[i] = freePort(t)
	}
	c := &NATSCluster{}
	var urls []string
	for i := range nodes {
		s := &NATSServer{Name: fmt.Sprintf("n%d", i+1)}
		s.configure(t, path, freePort(t), clusterConfig(routes, i), opts)
		c.Nodes = append(c.Nodes, s)
		urls = append(urls, s.URL)
	}
	c.URL = strings.Join(urls, ",")

	// A node is ready when there is a meta leader, which needs a majority: start all nodes before waiting for one.
	errs := make(chan error, nodes)
	for _, s := range c.Nodes {
		go func() { errs <- s.start() }()
	}
	var failed error
	for range c.Nodes {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	if failed == nil {
		failed = c.waitForPeers()
	}
	if failed != nil {
		t.Fatal(failed)
	}
	return c
}

// settled is the time for which a cluster must place streams without a failure. It is the pause after which nodes dial those
// again that did not listen at first, and then rearrange their connections.
const settled = time.Second

// waitForPeers waits until the cluster has placed streams on all of its nodes for the time of settled. A node is ready
// before that, but may appear offline to the others once more.
func (c *NATSCluster) waitForPeers() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	nc, err := nats.Connect(c.URL, c.Nodes[0].login)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	const name = "servertest-ready"
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for since := time.Now(); ; {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Replicas: len(c.Nodes)})
		if err == nil {
			err = js.DeleteStream(ctx, name)
		}
		switch {
		case err != nil:
			since = time.Now()
		case time.Since(since) >= settled:
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the cluster does not place streams on %d nodes after %v: %w", len(c.Nodes), readyTimeout, err)
		}
	}
}

// Node returns the node with the given name.
func (c *NATSCluster) Node(name string) *NATSServer {
	for _, s := range c.Nodes {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func clusterConfig(routes []int, self int) []string {
	lines := []string{
		"cluster {",
		"  name: freshet",
		fmt.Sprintf("  listen: %q", loopback(routes[self])),
		"  routes: [",
	}
	for i, port := range routes {
		if i != self {
			lines = append(lines, fmt.Sprintf("    nats://%s", loopback(port)))
		}
	}
	return append(lines, "  ]", "}")
}

// configure writes the server's configuration file and sets its process.
func (s *NATSServer) configure(t testing.TB, path string, port int, extra []string, opts []NATSOption) {
	t.Helper()
	dir := t.TempDir()
	s.config = filepath.Join(dir, "nats.conf")
	s.fixed = append([]string{
		fmt.Sprintf("listen: %q", loopback(port)),
		fmt.Sprintf("server_name: %q", s.Name),
		fmt.Sprintf("jetstream { store_dir: %q, max_memory_store: 64MB, max_file_store: 4GB }", filepath.Join(dir, "jetstream")),
	}, extra...)
	s.URL = "nats://" + loopback(port)
	s.Process = newProcess(t, command{
		name: "nats-server",
		path: path,
		args: []string{"-c", s.config},
		dir:  dir,
	})
	s.Reconfigure(opts...)
}

// Reconfigure replaces all earlier options. It takes effect at the next start.
func (s *NATSServer) Reconfigure(opts ...NATSOption) {
	s.t.Helper()
	var o natsOptions
	for _, opt := range opts {
		opt(&o)
	}
	lines := slices.Concat(s.fixed, o.config, []string{""})
	if err := os.WriteFile(s.config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		s.t.Fatalf("write the configuration of nats-server: %v", err)
	}
	s.login = o.login
	s.cmd.ready = func(ctx context.Context) error { return checkJetStream(ctx, s.URL, s.login) }
}

// checkJetStream returns nil if the server accepts clients and its JetStream answers. login may be nil.
func checkJetStream(ctx context.Context, url string, login nats.Option) error {
	nc, err := nats.Connect(url, nats.NoReconnect(), nats.Timeout(time.Second), login)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = js.AccountInfo(ctx)
	return err
}
