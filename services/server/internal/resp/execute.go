package resp

import (
	"fmt"
	"strings"

	"freshet.dev/pkg/member"
	"freshet.dev/pkg/table"
)

// flushAt is how many bytes of replies are collected before they are sent.
const flushAt = 128 << 10

const (
	// turnWork is the work after which it is the turn of other connections, about a millisecond, and commandWork the most of one command. The
	// unit is a byte of JSON that is parsed.
	turnWork, commandWork = 1 << 20, 32 << 20
	// recordWork is the work of a record that a SCAN examines.
	recordWork = 128
)

// executor executes the commands of connections that share a goroutine. It is not safe for concurrent use.
type executor struct {
	port *Port
	args [][]byte // of the running command
	work int      // of the commands of the run

	// For commands of many keys.
	keys, values [][]byte
	opened       []opened

	paths map[string]*member.Paths // of members that commands named
}

func newExecutor(p *Port) executor { return executor{port: p, paths: make(map[string]*member.Paths)} }

// opened is a dataset with the version that the running command reads.
type opened struct {
	*served
	table *table.Table
}

// run executes the commands in in, as long as they are complete, out has less than flushAt bytes, and the work is less than
// turnWork. It appends their replies to out and returns
// the rest of in.
func (x *executor) run(c *conn, in, out []byte) (rest, replies []byte) {
	x.work = 0
	if c.wait != nil {
		var ok bool
		if out, ok = x.waited(c, out); !ok {
			return in, out
		}
	}
	for len(in) > 0 && len(out) < flushAt && x.work < turnWork && !c.closing && c.wait == nil {
		lim := x.port.limits
		if !c.authed {
			lim = limits{min(lim.args, strangerArgs), min(lim.bytes, strangerBytes)}
		}
		var n int
		var err error
		x.args, n, err = parse(in, &c.half, lim, x.args[:0])
		switch {
		case err != nil:
			x.port.metrics.errors.Add(1)
			c.closing = true
			return nil, appendError(out, "ERR "+err.Error())
		case n == 0:
			return in, out
		}
		in = in[n:]
		if len(x.args) > 0 {
			out = x.execute(c, out)
		}
	}
	if c.closing {
		return nil, out
	}
	return in, out
}

// more reports whether the last run, which returned the replies, may have left complete commands.
func (x *executor) more(replies []byte) bool { return len(replies) >= flushAt || x.work >= turnWork }

// execute executes the command of x.args and appends its reply to out.
func (x *executor) execute(c *conn, out []byte) []byte {
	before, skip := len(out), c.skip
	c.skip = false
	cmd := lookup(x.args[0])
	switch {
	case cmd == nil:
		out = x.unknown(c, out)
	case !c.authed && !cmd.open:
		out = appendError(out, "NOAUTH Authentication required.")
	case cmd.arity > 0 && len(x.args) != cmd.arity || len(x.args) < -cmd.arity:
		out = appendError(out, fmt.Sprintf("ERR wrong number of arguments for '%s' command", cmd.name))
	default:
		out = cmd.run(x, c, out)
		x.release()
	}
	if c.session != nil && (cmd == nil || !cmd.client) {
		c.session.Executed() // also after an error, as in Redis
	}
	if cmd != nil {
		c.command.Store(cmd)
		x.port.metrics.commands[cmd.index].Add(1)
	}
	if len(out) > before && out[before] == '-' {
		x.port.metrics.errors.Add(1)
	}
	if c.wait != nil {
		c.wait.mute = c.silent || skip
	}
	if c.silent || skip {
		out = out[:before]
	}
	return out
}

// release forgets the tables and values that the command has read: until the next command they would keep old versions in memory.
func (x *executor) release() {
	if len(x.opened) > 0 {
		clear(x.opened)
		clear(x.values)
		x.opened, x.values = x.opened[:0], x.values[:0]
	}
}

// readOnly are the commands of Redis that change data, and refusals other commands of Redis that clients send.
var (
	readOnly = func() map[string]bool {
		names := make(map[string]bool)
		for name := range strings.FieldsSeq(`append bitfield bitop blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin copy decr decrby del
			expire expireat flushall flushdb geoadd getdel getex getset hdel hexpire hincrby hincrbyfloat hmset hset hsetnx incr incrby incrbyfloat
			linsert lmove lmpop lpop lpush lpushx lrem lset ltrim move mset msetnx persist pexpire pexpireat pfadd pfmerge psetex rename renamenx
			restore rpop rpoplpush rpush rpushx sadd sdiffstore set setbit setex setnx setrange sinterstore smove sort spop srem sunionstore swapdb
			unlink xadd xdel xgroup xtrim zadd zincrby zinterstore zmpop zpopmax zpopmin zrangestore zrem zunionstore`) {
			names[name] = true
		}
		return names
	}()
	refusals = map[string]string{
		"multi":     "there are no transactions: MGET reads all keys of a dataset in one version; make pipelines without MULTI (redis-py: transaction=False)",
		"keys":      "KEYS would stop all clients: use SCAN",
		"subscribe": "freshet publishes versions over NATS, and invalidations to clients with CLIENT TRACKING in RESP3",
		"eval":      "there are no scripts",
		"evalsha":   "there are no scripts",
	}
)

// unknown appends the error of a command that the port lacks.
func (x *executor) unknown(c *conn, out []byte) []byte {
	name := strings.ToLower(string(x.args[0][:min(len(x.args[0]), 64)]))
	switch {
	case name == "post" || name == "host:": // a browser that a page makes to send commands
		c.closing = true
		return out
	case !c.authed:
		return appendError(out, "NOAUTH Authentication required.")
	case readOnly[name]:
		return appendError(out, fmt.Sprintf("READONLY freshet's datasets are read-only here, %q changes nothing: publish a version with freshet publish", name))
	case refusals[name] != "":
		return appendError(out, fmt.Sprintf("ERR unknown command '%s': %s", name, refusals[name]))
	}
	return appendError(out, fmt.Sprintf("ERR unknown command %q; COMMAND LIST has the commands of this port", name))
}
