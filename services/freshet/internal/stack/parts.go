package stack

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"freshet.dev/services/freshet/internal/brokers"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
	"freshet.dev/services/relay"
	"freshet.dev/services/server"
)

// startAll starts all parts. Each part comes after the parts that it depends on.
func startAll(s *supervisor, cfg Config) (at Addresses, err error) {
	if at.NATS, err = startNATS(s, cfg); err != nil {
		return at, err
	}
	if at.Redis, err = startRedis(s, cfg); err != nil {
		return at, err
	}
	if at.Publisher, err = startPublisher(s, cfg, at); err != nil {
		return at, err
	}
	if at.Relay, err = startRelay(s, cfg, at); err != nil {
		return at, err
	}
	for i, name := range cfg.Instances {
		address, resp, err := startServer(s, cfg, at, i)
		if err != nil {
			return at, err
		}
		at.Instances = append(at.Instances, Instance{Name: name, URL: address, RESP: resp})
	}
	return at, nil
}

func startNATS(s *supervisor, cfg Config) (at string, err error) {
	nats, err := brokers.OpenNATS(s.ctx, brokers.NATSConfig{
		Host: cfg.Host, Port: cfg.Ports.NATS, Dir: filepath.Join(cfg.Dir, "nats"), Log: cfg.Log,
	})
	if err != nil {
		return "", portError(err, "nats", cfg.address(cfg.Ports.NATS))
	}
	s.onStop(func() error { nats.Close(); return nil })
	return nats.URL(), nil
}

func startRedis(s *supervisor, cfg Config) (at string, err error) {
	redis, err := brokers.OpenRedis(cfg.Host, cfg.Ports.Redis)
	if err != nil {
		return "", portError(err, "redis", cfg.address(cfg.Ports.Redis))
	}
	s.onStop(func() error { redis.Close(); return nil })
	return redis.URL(), nil
}

func startPublisher(s *supervisor, cfg Config, at Addresses) (address string, err error) {
	var c publisher.Config
	if err := load(&c); err != nil {
		return "", err
	}
	c.Listen = cfg.address(cfg.Ports.Publisher)
	c.StoreURL = cfg.storeURL()
	c.NatsURL = settings.URL(at.NATS)
	c.NatsReplicas = 0
	c.RedisURL = settings.URL(at.Redis)
	c.Namespace = cfg.Namespace
	c.TempDir = filepath.Join(cfg.Dir, "temp")
	deps, err := publisher.Open(s.ctx, c, cfg.Log.With("service", "publisher"))
	if err != nil {
		return "", err
	}
	s.onStop(deps.Close)
	p, err := publisher.New(c, deps)
	if err != nil {
		return "", err
	}
	return s.run("publisher", c.Listen, p)
}

func startRelay(s *supervisor, cfg Config, at Addresses) (address string, err error) {
	var c relay.Config
	if err := load(&c); err != nil {
		return "", err
	}
	c.Listen = cfg.address(cfg.Ports.Relay)
	c.StoreURL = cfg.storeURL()
	c.RedisURL = settings.URL(at.Redis)
	c.Namespace = cfg.Namespace
	deps, err := relay.Open(s.ctx, c, cfg.Log.With("service", "relay"))
	if err != nil {
		return "", err
	}
	s.onStop(deps.Close)
	r, err := relay.New(c, deps)
	if err != nil {
		return "", err
	}
	return s.run("relay", c.Listen, r)
}

func startServer(s *supervisor, cfg Config, at Addresses, i int) (address, resp string, err error) {
	name := cfg.Instances[i]
	var c server.Config
	if err := load(&c); err != nil {
		return "", "", err
	}
	c.Listen = cfg.address(cfg.Ports.server(i))
	c.NatsURL = settings.URL(at.NATS)
	c.RedisURL = settings.URL(at.Redis)
	c.Namespace = cfg.Namespace
	c.Relays = settings.List{at.Relay}
	c.Datasets = settings.List(cfg.Datasets)
	c.CacheDir = filepath.Join(cfg.Dir, "cache", name)
	c.Instance = name
	c.RespListen = respListen(c.RespListen, i)
	deps, err := server.Open(s.ctx, c, cfg.Log.With("service", "server", "instance", name))
	if err != nil {
		return "", "", err
	}
	s.onStop(deps.Close)
	svc, err := server.New(c, deps)
	if err != nil {
		return "", "", err
	}
	address, err = s.run("server", c.Listen, svc)
	return address, svc.RespAddr(), err
}

// respListen returns the value of FRESHET_RESP_LISTEN for instance i: like HTTP, further instances use the next ports.
func respListen(listen string, i int) string {
	before := listen[:strings.LastIndexByte(listen, ':')+1]
	port, err := strconv.Atoi(listen[len(before):])
	if err != nil || port == 0 {
		return listen // off, wrong, or any free port
	}
	return before + strconv.Itoa(port+i)
}

// load fills a service's configuration from the environment, as the service's own program does. The caller then overrides addresses
// and folders.
func load(cfg any) error {
	_, err := settings.Load(cfg)
	return err
}

func (c *Config) address(port int) string { return net.JoinHostPort(c.Host, strconv.Itoa(port)) }

func (c *Config) storeURL() settings.URL {
	u := url.URL{Scheme: "dir", Path: filepath.ToSlash(filepath.Join(c.Dir, "store"))}
	return settings.URL(u.String())
}

// portError returns a PortError for the part if err means that its port is in use, and err otherwise.
func portError(err error, part, address string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &PortError{Part: part, Address: address}
	}
	return err
}
