package resp

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// NotYet is the code of an error reply that says that a version is not served yet.
const NotYet = "NOTYET"

// defaultWait is how long FRESHET.ATLEAST without milliseconds waits, unless Config.WaitMax is shorter.
const defaultWait = time.Second

// wait is a command that waits for a version. The commands of its connection after it wait for its reply.
type wait struct {
	cancel context.CancelFunc
	mute   bool // the client wants no reply
	// done is closed when the command has waited; reply is written before.
	done  chan struct{}
	reply []byte
}

// atLeast answers FRESHET.ATLEAST token [milliseconds]. If the version is not served yet, a new goroutine waits for it.
func atLeast(x *executor, c *conn, out []byte) []byte {
	p, token := x.port, string(x.args[1])
	within := min(defaultWait, p.cfg.WaitMax)
	switch {
	case len(x.args) > 3:
		return appendError(out, "ERR wrong number of arguments for 'freshet.atleast' command")
	case len(x.args) == 3:
		n, err := strconv.ParseInt(string(x.args[2]), 10, 64)
		if err != nil || n < 0 {
			return appendError(out, fmt.Sprintf("ERR %.40q is no number of milliseconds: want 0 or more; 0 waits for nothing", x.args[2]))
		}
		within = p.cfg.WaitMax
		if n < within.Milliseconds() {
			within = time.Duration(n) * time.Millisecond
		}
	}
	name, _, _ := strings.Cut(token, "/")
	if p.datasets[name] == nil && strings.Contains(token, "/") {
		return appendError(out, p.noDataset([]byte(name)).Error())
	}
	err := p.atLeast(context.Background(), name, token, 0)
	if err == nil || within <= 0 || !strings.HasPrefix(err.Error(), NotYet+" ") {
		return appendOutcome(out, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &wait{cancel: cancel, done: make(chan struct{})}
	c.wait = w
	p.blocked.Add(1)
	p.waits.Go(func() {
		defer p.blocked.Add(-1)
		w.reply = appendOutcome(nil, p.atLeast(ctx, name, token, within))
		cancel()
		close(w.done)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.gone {
			c.wake()
		}
	})
	return out
}

func appendOutcome(out []byte, err error) []byte {
	if err != nil {
		return appendError(out, err.Error())
	}
	return appendOK(out)
}

// waited appends the reply of the command that c waits for, if it has waited. It returns false if it still waits.
func (x *executor) waited(c *conn, out []byte) (replies []byte, ok bool) {
	w := c.wait
	select {
	case <-w.done:
	default:
		return out, false
	}
	c.wait = nil
	c.last.Store(x.port.clock.Load()) // the client did not idle
	if w.reply[0] == '-' {
		x.port.metrics.errors.Add(1)
	}
	if !w.mute {
		out = append(out, w.reply...)
	}
	return out, true
}
