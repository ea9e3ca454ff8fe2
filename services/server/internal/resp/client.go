package resp

import (
	"sync"
	"sync/atomic"
)

// conn is a connection, without its transport. It implements [Client].
type conn struct {
	id            int64
	remote, local string
	created       int64 // seconds, of the port's clock
	limit         int   // bytes that may wait for the client
	port          *Port // counts what was pushed; nil in tests of other things
	// wake makes the transport send what was pushed, or close the connection. It is called with mu held.
	wake func()

	proto   atomic.Int32
	last    atomic.Int64            // when the client sent something last: seconds, of the port's clock
	command atomic.Pointer[command] // the last one
	unsent  atomic.Int64            // bytes that the transport keeps: of replies that the client does not read, and of incomplete commands

	// Of the goroutine that executes commands.
	half    progress
	session Session // nil if the client has sent no command about tracking
	authed  bool
	began   int64 // when the connection began or was reset: seconds, of the port's clock
	closing bool  // close the connection when the replies are sent
	wait    *wait // the command that waits; nil if none does
	silent  bool  // CLIENT REPLY OFF
	skip    bool  // CLIENT REPLY SKIP: no reply to the command after this one

	mu       sync.Mutex
	pushed   []byte // guarded by mu: messages to send
	gone     bool   // guarded by mu: closed, or to be closed
	slow     bool   // guarded by mu: to be closed, because it does not read what was pushed
	name     string // guarded by mu
	lib, ver string // guarded by mu
}

// ID implements [Client].
func (c *conn) ID() int64 { return c.id }

// Protocol implements [Client].
func (c *conn) Protocol() int { return int(c.proto.Load()) }

// Push implements [Client].
func (c *conn) Push(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false
	}
	if c.Protocol() != 3 {
		return true
	}
	if int(c.unsent.Load())+len(c.pushed)+len(b) > c.limit || !c.port.admit(len(b)) {
		c.gone, c.slow = true, true
		c.dropPushed()
		c.wake()
		return false
	}
	c.pushed = append(c.pushed, b...)
	if len(c.pushed) == len(b) {
		c.wake()
	}
	return true
}

// speak selects the protocol. Tracking ends with RESP3: what is pushed and not sent would be no reply of RESP2.
func (c *conn) speak(proto int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if proto != 3 {
		c.dropPushed()
	}
	c.proto.Store(int32(proto))
}

// takePushed appends the messages that were pushed to dst. ok is false if the connection is to be closed.
func (c *conn) takePushed(dst []byte) (out []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dst = append(dst, c.pushed...)
	c.dropPushed()
	return dst, !c.gone
}

// dropPushed forgets what was pushed. The caller holds mu.
func (c *conn) dropPushed() {
	c.port.release(len(c.pushed))
	c.pushed = nil
}

// tooSlow reports whether the connection is to be closed because the client does not read what was pushed.
func (c *conn) tooSlow() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slow
}

// end ends the connection for trackers. It returns whether a tracker found the client too slow.
func (c *conn) end() (slow bool) {
	c.mu.Lock()
	c.gone, slow = true, c.slow
	c.dropPushed()
	c.mu.Unlock()
	if c.wait != nil {
		c.wait.cancel()
	}
	if c.session != nil {
		c.session.Close()
		c.session = nil
	}
	return slow
}

func (c *conn) setName(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = name
}

// names returns the name of CLIENT SETNAME and those of CLIENT SETINFO.
func (c *conn) names() (name, lib, ver string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name, c.lib, c.ver
}
