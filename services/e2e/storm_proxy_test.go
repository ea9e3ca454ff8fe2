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

// proxy is between a client and a server and injects faults into the server's answers. Faults must be added before the first
// connection: toxiproxy can deadlock when it changes a connection that the client closes at the same time.
type proxy struct {
	*toxiproxy.Proxy
	*tap
	t   *testing.T
	URL string
}

// newProxy starts a proxy in front of the server at upstream, which is a URL or host:port.
func newProxy(t *testing.T, upstream string) *proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := &proxy{t: t, Proxy: toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", upstream[strings.LastIndex(upstream, "/")+1:])}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	p.URL = "http://" + p.Listen
	p.tap = taps.new(p.Listen)
	t.Cleanup(p.heal) // before Stop, which waits for what is held
	p.add("tap", map[string]any{"Name": p.Listen})
	p.inject("upstream", "gate", map[string]any{"Name": p.Listen})
	return p
}

// add injects the fault of the type into the server's answers.
func (p *proxy) add(kind string, attributes map[string]any) {
	p.t.Helper()
	p.inject("downstream", kind, attributes)
}

func (p *proxy) inject(stream, kind string, attributes map[string]any) {
	p.t.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
	if err == nil {
		_, err = p.Toxics.AddToxicJson(strings.NewReader(string(text)))
	}
	if err != nil {
		p.t.Fatalf("add the fault %s: %v", kind, err)
	}
}

// tap lets a test observe and change open connections.
type tap struct {
	sent atomic.Int64 // bytes from the server to its clients, headers and all
	flip atomic.Int64 // one bit is flipped in every so many bytes of a connection; 0: none
	// parted is closed when a partition is over; nil while there is none.
	parted atomic.Pointer[chan struct{}]
}

// part starts a partition in both directions, like a network that loses every packet: nothing arrives and no connection breaks.
func (t *tap) part() {
	over := make(chan struct{})
	t.parted.CompareAndSwap(nil, &over)
}

// heal ends the partition. Data sent during the partition arrives, like retransmitted packets.
func (t *tap) heal() {
	if over := t.parted.Swap(nil); over != nil {
		close(*over)
	}
}

// pass waits until there is no partition.
func (t *tap) pass() {
	if over := t.parted.Load(); over != nil {
		<-*over
	}
}

// taps holds the taps by name, because a toxic has only its attributes.
var taps = &tapsByName{all: map[string]*tap{}}

type tapsByName struct {
	mu  sync.Mutex
	all map[string]*tap // guarded by mu
}

func (c *tapsByName) new(name string) *tap {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[name] = new(tap)
	return c.all[name]
}

func (c *tapsByName) get(name string) *tap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[name]
}

// tapToxic applies a tap in a proxy.
type tapToxic struct{ Name string }

// NewState returns the counter of a connection's bytes.
func (*tapToxic) NewState() any { return new(int64) }

func (x *tapToxic) Pipe(stub *toxics.ToxicStub) {
	tap, passed := taps.get(x.Name), stub.State.(*int64)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			tap.pass()
			tap.sent.Add(int64(len(c.Data)))
			if every := tap.flip.Load(); every > 0 {
				for at := every - *passed%every; at < int64(len(c.Data)); at += every {
					c.Data[at] ^= 0x10
				}
			}
			*passed += int64(len(c.Data))
			stub.Output <- c
		}
	}
}

// gateToxic applies the partitions of a tap in the other direction.
type gateToxic struct{ Name string }

func (x *gateToxic) Pipe(stub *toxics.ToxicStub) {
	tap := taps.get(x.Name)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			tap.pass()
			stub.Output <- c
		}
	}
}

func init() {
	toxics.Register("tap", new(tapToxic))
	toxics.Register("gate", new(gateToxic))
}
