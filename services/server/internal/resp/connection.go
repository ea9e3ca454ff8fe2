package resp

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strconv"
	"strings"
)

// compatible is the version of Redis whose commands the port's are.
const compatible = "7.2.0"

func ok(_ *executor, _ *conn, out []byte) []byte { return appendOK(out) }

func ping(x *executor, c *conn, out []byte) []byte {
	switch len(x.args) {
	case 1:
		return append(out, "+PONG\r\n"...)
	case 2:
		return appendBulk(out, x.args[1])
	}
	return appendError(out, "ERR wrong number of arguments for 'ping' command")
}

func echo(x *executor, _ *conn, out []byte) []byte { return appendBulk(out, x.args[1]) }

func selectDB(x *executor, _ *conn, out []byte) []byte {
	switch n, err := strconv.Atoi(string(x.args[1])); {
	case err != nil:
		return appendError(out, "ERR value is not an integer or out of range")
	case n != 0:
		return appendError(out, "ERR DB index is out of range: freshet has database 0 only; datasets are named in keys, dataset:key")
	}
	return appendOK(out)
}

func quit(_ *executor, c *conn, out []byte) []byte {
	c.closing = true
	return appendOK(out)
}

func reset(x *executor, c *conn, out []byte) []byte {
	if c.session != nil {
		c.session.Close()
		c.session = nil
	}
	c.speak(2)
	c.began = x.port.clock.Load()
	c.silent, c.authed = false, !x.port.protected
	c.setName("")
	return appendSimple(out, "RESET")
}

const wrongPassword = "WRONGPASS invalid username-password pair or user is disabled."

// login checks user and password, as Redis does with one user: default.
func (x *executor) login(c *conn, user, password []byte) bool {
	given := sha256.Sum256(password)
	ok := subtle.ConstantTimeCompare(given[:], x.port.password[:]) == 1 || !x.port.protected
	if !ok || string(user) != "default" {
		x.port.metrics.denied.Add(1)
		return false
	}
	c.authed = true
	return true
}

func auth(x *executor, c *conn, out []byte) []byte {
	user, password := []byte("default"), x.args[1]
	switch {
	case len(x.args) > 3:
		return appendError(out, "ERR syntax error")
	case len(x.args) == 3:
		user, password = x.args[1], x.args[2]
	case !x.port.protected:
		return appendError(out, "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	}
	if !x.login(c, user, password) {
		return appendError(out, wrongPassword)
	}
	return appendOK(out)
}

// hello answers HELLO [protover [AUTH username password] [SETNAME name]].
func hello(x *executor, c *conn, out []byte) []byte {
	proto, args := c.Protocol(), x.args[1:]
	if len(args) > 0 {
		n, err := strconv.Atoi(string(args[0]))
		switch {
		case err != nil:
			return appendError(out, "ERR Protocol version is not an integer or out of range")
		case n != 2 && n != 3:
			return appendError(out, "NOPROTO unsupported protocol version")
		}
		proto, args = n, args[1:]
	}
	var name []byte
	authed := c.authed
	for len(args) > 0 {
		switch {
		case is(args[0], "auth") && len(args) >= 3:
			if !x.login(c, args[1], args[2]) {
				return appendError(out, wrongPassword)
			}
			authed, args = true, args[3:]
		case is(args[0], "setname") && len(args) >= 2:
			if name = args[1]; !printable(name) {
				return appendError(out, badName)
			}
			args = args[2:]
		default:
			return appendError(out, fmt.Sprintf("ERR Syntax error in HELLO option '%.64q'", args[0]))
		}
	}
	if !authed {
		return appendError(out, "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	}
	if name != nil {
		c.setName(string(name))
	}
	c.speak(proto)
	out = appendMap(out, proto, 7)
	out = appendBulk(appendBulk(out, "server"), "redis") // clients compare it
	out = appendBulk(appendBulk(out, "version"), compatible)
	out = appendInt(appendBulk(out, "proto"), proto)
	out = appendInt(appendBulk(out, "id"), int(c.id))
	out = appendBulk(appendBulk(out, "mode"), "standalone")
	out = appendBulk(appendBulk(out, "role"), "master")
	return appendArray(appendBulk(out, "modules"), 0)
}

// longestText is the length of the longest name of a connection or a library.
const longestText = 256

const badName = "ERR Client names cannot contain spaces, newlines or special characters, and have at most 256 bytes."

// printable reports whether a name fits into a line of CLIENT LIST.
func printable(name []byte) bool {
	for _, b := range name {
		if b < '!' || b > '~' {
			return false
		}
	}
	return len(name) <= longestText
}

// config answers CONFIG GET of the parameters that clients and tools ask for.
func config(x *executor, c *conn, out []byte) []byte {
	if !is(x.args[1], "get") || len(x.args) < 3 {
		return appendError(out, "ERR only CONFIG GET is served; the settings of freshet-server are environment variables")
	}
	values := [][2]string{
		{"appendonly", "no"},
		{"databases", "1"},
		{"maxclients", strconv.Itoa(x.port.cfg.Connections)},
		{"maxmemory", "0"},
		{"save", ""},
		{"timeout", strconv.Itoa(int(x.port.cfg.Idle.Seconds()))},
	}
	var found [][2]string
	for _, v := range values {
		for _, pattern := range x.args[2:] {
			if p := strings.ToLower(string(pattern)); p == "*" || p == v[0] {
				found = append(found, v)
				break
			}
		}
	}
	out = appendMap(out, c.Protocol(), len(found))
	for _, v := range found {
		out = appendBulk(appendBulk(out, v[0]), v[1])
	}
	return out
}

func unknownSubcommand(x *executor, out []byte, known string) []byte {
	return appendError(out, fmt.Sprintf("ERR unknown subcommand or wrong number of arguments for '%.64q'. %s has %s.", x.args[1], strings.ToUpper(string(x.args[0])), known))
}
