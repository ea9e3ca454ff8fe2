package latency

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// The faults of the slow proxies, in the answers: milliseconds of latency, and KB/s of bandwidth of the relay, which makes a full reload of
// 1 M records last a second longer.
const (
	redisLatency  = 200
	relayLatency  = 50
	relayKBPerSec = 25_000
)

// proxy is between an instance and a server.
type proxy struct {
	*toxiproxy.Proxy
	scheme string
}

func (p proxy) url() string { return p.scheme + "://" + p.Listen }

func startProxy(name, upstream string) (proxy, error) {
	u, err := url.Parse(upstream)
	if err != nil {
		return proxy{}, err
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := proxy{toxiproxy.NewProxy(server, name, "127.0.0.1:0", u.Host), u.Scheme}
	return p, p.Start()
}

// add adds a fault to the answers.
func (p proxy) add(kind string, attributes map[string]any) error {
	text, err := json.Marshal(map[string]any{"type": kind, "stream": "downstream", "attributes": attributes})
	if err == nil {
		_, err = p.Toxics.AddToxicJson(strings.NewReader(string(text)))
	}
	if err != nil {
		return fmt.Errorf("add the fault %s: %w", kind, err)
	}
	return nil
}

// slowly calls f with the URLs of slow proxies in front of Redis and the relay. They are slow from the first connection on: toxiproxy may
// hang when it changes a connection.
func (b *bench) slowly(f func(redis, relay string) ([]column, error)) ([]column, error) {
	redis, err := startProxy("redis", b.system.Redis)
	if err != nil {
		return nil, err
	}
	defer redis.Stop()
	relay, err := startProxy("relay", b.system.Relay)
	if err != nil {
		return nil, err
	}
	defer relay.Stop()
	for _, fault := range []struct {
		at         proxy
		kind       string
		attributes map[string]any
	}{
		{redis, "latency", map[string]any{"latency": redisLatency, "jitter": redisLatency / 4}},
		{relay, "latency", map[string]any{"latency": relayLatency, "jitter": relayLatency / 4}},
		{relay, "bandwidth", map[string]any{"rate": relayKBPerSec}},
	} {
		if err := fault.at.add(fault.kind, fault.attributes); err != nil {
			return nil, err
		}
	}
	return f(redis.url(), relay.url())
}
