package subscribe_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy stands between a client and a server, and can cut the line.
type proxy struct {
	t       *testing.T
	url     string
	target  string
	mu      sync.Mutex // guards the fields below
	l       net.Listener
	conns   []net.Conn
	running sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	p := &proxy{t: t, target: strings.TrimPrefix(target, "nats://")}
	p.listen("127.0.0.1:0")
	p.url = "nats://" + p.l.Addr().String()
	t.Cleanup(p.cut)
	return p
}

func (p *proxy) listen(address string) {
	p.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.l = l
	p.mu.Unlock()
	p.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", p.target)
			if err != nil {
				c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, s)
			closed := p.l == nil
			p.mu.Unlock()
			if closed {
				c.Close()
				s.Close()
			}
			for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
				p.running.Go(func() {
					io.Copy(pair[0], pair[1])
					pair[0].Close()
				})
			}
		}
	})
}

// cut ends all connections and takes no more.
func (p *proxy) cut() {
	p.mu.Lock()
	if p.l != nil {
		p.l.Close()
		p.l = nil
	}
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.running.Wait()
}

// mend takes connections again, at the same address.
func (p *proxy) mend() { p.listen(strings.TrimPrefix(p.url, "nats://")) }
