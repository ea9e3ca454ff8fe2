package resp

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const clientSubcommands = "GETNAME, ID, INFO, LIST, NO-EVICT, NO-TOUCH, REPLY, SETINFO, SETNAME, TRACKING, TRACKINGINFO, CACHING and GETREDIR"

// clientCommand answers CLIENT.
func clientCommand(x *executor, c *conn, out []byte) []byte {
	sub, n := strings.ToLower(string(x.args[1][:min(len(x.args[1]), 20)])), len(x.args)
	switch {
	case sub == "tracking" || sub == "caching" || sub == "trackinginfo" || sub == "getredir":
		return tracking(x, c, out)
	case sub == "id" && n == 2:
		return appendInt(out, int(c.id))
	case sub == "getname" && n == 2:
		if name, _, _ := c.names(); name != "" {
			return appendBulk(out, name)
		}
		return appendNull(out, c.Protocol())
	case sub == "setname" && n == 3:
		if !printable(x.args[2]) {
			return appendError(out, badName)
		}
		c.setName(string(x.args[2]))
		return appendOK(out)
	case sub == "setinfo" && n == 4:
		return setInfo(x, c, out)
	case sub == "info" && n == 2:
		return appendText(out, c.Protocol(), x.port.describe(c)+"\n")
	case sub == "list": // any filter is ignored: the list is short enough
		return appendText(out, c.Protocol(), x.port.describeAll())
	case (sub == "no-evict" || sub == "no-touch") && n == 3 && (is(x.args[2], "on") || is(x.args[2], "off")):
		return appendOK(out)
	case sub == "reply" && n == 3:
		return clientReply(x, c, out)
	}
	return unknownSubcommand(x, out, clientSubcommands)
}

func tracking(x *executor, c *conn, out []byte) []byte {
	if c.session == nil {
		if x.port.tracker == nil {
			return appendError(out, "ERR client tracking is switched off on this server")
		}
		c.session = x.port.tracker.Register(c)
	}
	return c.session.Command(out, x.args)
}

func setInfo(x *executor, c *conn, out []byte) []byte {
	value := x.args[3]
	if !printable(value) {
		return appendError(out, badName)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case is(x.args[2], "lib-name"):
		c.lib = string(value)
	case is(x.args[2], "lib-ver"):
		c.ver = string(value)
	default:
		return appendError(out, fmt.Sprintf("ERR Unrecognized option '%.64q'", x.args[2]))
	}
	return appendOK(out)
}

func clientReply(x *executor, c *conn, out []byte) []byte {
	switch mode := x.args[2]; {
	case is(mode, "on"):
		c.silent = false
		return appendOK(out)
	case is(mode, "off"):
		c.silent = true
		return out
	case is(mode, "skip"):
		c.skip = true
		return out
	}
	return appendError(out, "ERR syntax error")
}

// describe returns the line of CLIENT LIST of a connection.
func (p *Port) describe(c *conn) string {
	name, lib, ver := c.names()
	last := "NULL"
	if cmd := c.command.Load(); cmd != nil {
		last = cmd.name
	}
	now := p.clock.Load()
	return fmt.Sprintf("id=%d addr=%s laddr=%s name=%s age=%d idle=%d flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 omem=%d events=r cmd=%s user=default lib-name=%s lib-ver=%s resp=%d",
		c.id, c.remote, c.local, name, now-c.created, now-c.last.Load(), c.unsent.Load(), last, lib, ver, c.Protocol())
}

// mostListed is how many connections CLIENT LIST shows.
const mostListed = 1000

func (p *Port) describeAll() string {
	p.mu.Lock()
	all := slices.SortedFunc(maps.Values(p.conns), func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
	p.mu.Unlock()
	var b strings.Builder
	for _, c := range all[:min(len(all), mostListed)] {
		b.WriteString(p.describe(c))
		b.WriteByte('\n')
	}
	return b.String()
}
