package resp

import (
	"slices"
	"strings"
)

// command is a command of the port. The fields that describe it are those of COMMAND.
type command struct {
	name    string
	arity   int // arguments with the name; at least -arity if negative
	run     func(x *executor, c *conn, out []byte) []byte
	open    bool // also before AUTH
	client  bool // CLIENT, of which CACHING affects the next command
	index   int  // in [commands]
	group   string
	summary string
	// Positions of the keys: the first, the last (-1: of the arguments), and from one to the next. All 0: no keys.
	first, last, step int
}

// commands are the commands, in the order of their names.
var commands []*command

var byName = make(map[string]*command)

func init() { // not initializers: COMMAND is a command
	read := func(name string, arity, last int, run func(*executor, *conn, []byte) []byte, group, summary string) *command {
		return &command{name: name, arity: arity, run: run, group: group, summary: summary, first: 1, last: last, step: 1}
	}
	other := func(name string, arity int, run func(*executor, *conn, []byte) []byte, group, summary string) *command {
		return &command{name: name, arity: arity, run: run, group: group, summary: summary}
	}
	open := func(c *command) *command { c.open = true; return c }
	client := other("client", -2, clientCommand, "connection", "Names and lists connections, and selects replies and tracking.")
	client.client = true
	commands = []*command{
		read("get", 2, 1, get, "string", "Returns the value of the record dataset:key."),
		read("mget", -2, -1, mget, "string", "Returns the values of records, those of a dataset from one version."),
		read("strlen", 2, 1, strlen, "string", "Returns the length of a record's value."),
		read("exists", -2, -1, exists, "generic", "Returns how many of the records exist."),
		read("type", 2, 1, typeOf, "generic", "Returns string for a record and none without one."),
		read("ttl", 2, 1, ttl, "generic", "Returns -1 for a record, which never expires, and -2 without one."),
		read("pttl", 2, 1, ttl, "generic", "Returns -1 for a record, which never expires, and -2 without one."),
		read("hget", 3, 1, hget, "hash", "Returns a member of a value that is a JSON object."),
		read("hmget", -3, 1, hmget, "hash", "Returns members of a value that is a JSON object."),
		read("hexists", 3, 1, hexists, "hash", "Returns 1 if a value that is a JSON object has the member."),
		read("hgetall", 2, 1, members(true, true), "hash", "Returns the names and values of the members of a JSON object."),
		read("hkeys", 2, 1, members(true, false), "hash", "Returns the names of the members of a JSON object."),
		read("hvals", 2, 1, members(false, true), "hash", "Returns the values of the members of a JSON object."),
		read("hlen", 2, 1, members(false, false), "hash", "Returns the number of members of a JSON object."),
		other("freshet.atleast", -2, atLeast, "connection", "Waits until at least the version of a token is served."),
		other("scan", -2, scan, "generic", "Iterates over the keys of all datasets, or of those that MATCH names."),
		other("dbsize", 1, dbsize, "server", "Returns the number of records of all datasets."),
		other("info", -1, info, "server", "Returns what is served and how."),
		other("command", -1, commandCommand, "server", "Describes the commands."),
		other("config", -2, config, "server", "CONFIG GET returns the few parameters that clients ask for."),
		open(other("auth", -2, auth, "connection", "Authenticates with the password of FRESHET_RESP_PASSWORD_FILE.")),
		open(other("hello", -1, hello, "connection", "Selects RESP2 or RESP3.")),
		open(other("quit", -1, quit, "connection", "Closes the connection.")),
		open(other("reset", 1, reset, "connection", "Resets the connection.")),
		client,
		other("ping", -1, ping, "connection", "Returns PONG, or its argument."),
		other("echo", 2, echo, "connection", "Returns its argument."),
		other("select", 2, selectDB, "connection", "Accepts database 0, the only one."),
		other("readonly", 1, ok, "cluster", "Does nothing: every connection only reads."),
		other("readwrite", 1, ok, "cluster", "Does nothing: every connection only reads."),
	}
	slices.SortFunc(commands, func(a, b *command) int { return strings.Compare(a.name, b.name) })
	for i, c := range commands {
		c.index = i
		byName[c.name] = c
	}
}

// longestName is the length of the longest name of a command.
const longestName = 16

// lookup returns the command with the name, in any case; nil if there is none.
func lookup(name []byte) *command {
	var low [longestName]byte
	if len(name) > len(low) {
		return nil
	}
	for i, b := range name {
		if b-'A' < 26 {
			b |= 0x20
		}
		low[i] = b
	}
	return byName[string(low[:len(name)])]
}

// is reports whether an argument is the word, in any case. The word is in lower case.
func is(arg []byte, word string) bool {
	return len(arg) == len(word) && strings.EqualFold(string(arg), word)
}

func (c *command) flags() []string {
	flags := []string{"fast"}
	if c.name == "scan" || c.group == "hash" {
		flags = []string{}
	}
	if c.step > 0 || c.name == "scan" || c.name == "dbsize" {
		flags = append(flags, "readonly")
	}
	if c.open {
		flags = append(flags, "no_auth")
	}
	return flags
}

// commandCommand answers COMMAND.
func commandCommand(x *executor, c *conn, out []byte) []byte {
	proto, names := c.Protocol(), commands
	if len(x.args) > 2 && (is(x.args[1], "info") || is(x.args[1], "docs")) {
		names = nil
		for _, name := range x.args[2:] {
			names = append(names, lookup(name))
		}
	}
	switch {
	case len(x.args) == 1 || is(x.args[1], "info"):
		out = appendArray(out, len(names))
		for _, cmd := range names {
			out = cmd.appendInfo(out, proto)
		}
	case is(x.args[1], "docs"):
		names = slices.DeleteFunc(slices.Clone(names), func(c *command) bool { return c == nil })
		out = appendMap(out, proto, len(names))
		for _, cmd := range names {
			out = appendMap(appendBulk(out, cmd.name), proto, 3)
			for _, s := range []string{"summary", cmd.summary, "since", "1.0.0", "group", cmd.group} {
				out = appendBulk(out, s)
			}
		}
	case is(x.args[1], "list") && len(x.args) == 2:
		out = appendArray(out, len(commands))
		for _, cmd := range commands {
			out = appendBulk(out, cmd.name)
		}
	case is(x.args[1], "count") && len(x.args) == 2:
		out = appendInt(out, len(commands))
	default:
		out = unknownSubcommand(x, out, "COUNT, DOCS, INFO and LIST")
	}
	return out
}

// appendInfo appends the entry of COMMAND INFO; nil has a null.
func (c *command) appendInfo(out []byte, proto int) []byte {
	if c == nil {
		return appendNullArray(out, proto)
	}
	out = appendBulk(appendArray(out, 10), c.name)
	out = appendInt(out, c.arity)
	flags := c.flags()
	out = appendSet(out, proto, len(flags))
	for _, f := range flags {
		out = appendSimple(out, f)
	}
	out = appendInt(appendInt(appendInt(out, c.first), c.last), c.step)
	out = appendSet(out, proto, 0) // ACL categories
	for range 3 {                  // tips, key specifications, subcommands
		out = appendArray(out, 0)
	}
	return out
}
