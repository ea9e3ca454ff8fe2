package e2e

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// proxy stands between a client and a server, counts what the server sends, and injects faults into it.
type proxy struct {
	*toxiproxy.Proxy
	t    *testing.T
	URL  string
	sent *atomic.Int64 // bytes from the server to its clients, headers and all
}

// newProxy starts a proxy in front of the server at upstream, which is a URL or host:port.
func newProxy(t *testing.T, upstream string) *proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := &proxy{t: t, Proxy: toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", strings.TrimPrefix(upstream, "http://"))}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	p.URL = "http://" + p.Listen
	p.sent = meters.new(p.Listen)
	p.add("meter", map[string]any{"Name": p.Listen})
	return p
}

// add injects the fault of the type into all that the server sends.
func (p *proxy) add(kind string, attributes map[string]any) {
	p.t.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "stream": "downstream", "attributes": attributes})
	if err == nil {
		_, err = p.Toxics.AddToxicJson(strings.NewReader(string(text)))
	}
	if err != nil {
		p.t.Fatalf("add the fault %s: %v", kind, err)
	}
}

// remove ends the fault of the type.
func (p *proxy) remove(kind string) {
	p.t.Helper()
	if err := p.Toxics.RemoveToxic(p.t.Context(), kind+"_downstream"); err != nil {
		p.t.Fatalf("remove the fault %s: %v", kind, err)
	}
}

// meters are the counters of the toxics below: a toxic has nothing but its attributes.
var meters = &counters{all: map[string]*atomic.Int64{}}

type counters struct {
	mu  sync.Mutex
	all map[string]*atomic.Int64 // by name; guarded by mu
}

func (c *counters) new(name string) *atomic.Int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[name] = new(atomic.Int64)
	return c.all[name]
}

func (c *counters) get(name string) *atomic.Int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[name]
}

// meter counts what passes.
type meter struct{ Name string }

func (m *meter) Pipe(stub *toxics.ToxicStub) {
	sum := meters.get(m.Name)
	pipe(stub, func(data []byte) { sum.Add(int64(len(data))) })
}

// flip flips one bit in every so many bytes of a connection.
type flip struct{ Every int64 }

func (*flip) NewState() any { return new(int64) }

func (f *flip) Pipe(stub *toxics.ToxicStub) {
	passed := stub.State.(*int64)
	pipe(stub, func(data []byte) {
		for at := f.Every - *passed%f.Every; at < int64(len(data)); at += f.Every {
			data[at] ^= 0x10
		}
		*passed += int64(len(data))
	})
}

func init() {
	toxics.Register("meter", new(meter))
	toxics.Register("flip", new(flip))
}

// pipe hands on what comes after f has seen it.
func pipe(stub *toxics.ToxicStub, f func([]byte)) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			f(c.Data)
			stub.Output <- c
		}
	}
}
