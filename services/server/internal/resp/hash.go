package resp

import (
	"fmt"

	"freshet.dev/pkg/member"
)

// mostPaths is how many members' paths an executor keeps.
const mostPaths = 1024

// path returns the parsed path of a member.
func (x *executor) path(name []byte) (*member.Paths, error) {
	if p := x.paths[string(name)]; p != nil {
		return p, nil
	}
	p, err := member.Parse(string(name))
	if err != nil {
		return nil, replyError("ERR " + err.Error())
	}
	if len(x.paths) >= mostPaths {
		clear(x.paths)
	}
	x.paths[string(name)] = p
	return p, nil
}

// object returns the value of the record that the command's first argument names, a JSON object; nil if there is no record. Its error is the
// reply.
func (x *executor) object(c *conn) ([]byte, error) {
	value, err := x.value(c)
	if err != nil || value == nil {
		return nil, err
	}
	if n := len(value); n < 2 || value[0] != '{' || value[n-1] != '}' {
		return nil, replyError(fmt.Sprintf("WRONGTYPE Operation against a key holding the wrong kind of value: the value of %.80q is no JSON object; GET returns it",
			x.args[1]))
	}
	return value, nil
}

// memberOf returns a member of the object; it is missing if object is nil.
func (x *executor) memberOf(object, name []byte) (v member.Value, err error) {
	p, err := x.path(name)
	if err != nil || object == nil {
		return v, err
	}
	x.work += len(object)
	var one [1]member.Value
	return p.Read(object, one[:0])[0], nil
}

// appendMember appends the characters of a string, the JSON of any other value, and null for a missing member.
func appendMember(out []byte, c *conn, v member.Value) []byte {
	if v.Kind() == member.Missing {
		return appendNull(out, c.Protocol())
	}
	return appendBulk(out, v.Text())
}

func hget(x *executor, c *conn, out []byte) []byte {
	object, err := x.object(c)
	if err != nil {
		return appendError(out, err.Error())
	}
	v, err := x.memberOf(object, x.args[2])
	if err != nil {
		return appendError(out, err.Error())
	}
	return appendMember(out, c, v)
}

func hmget(x *executor, c *conn, out []byte) []byte {
	object, err := x.object(c)
	if err != nil {
		return appendError(out, err.Error())
	}
	if n := len(x.args) - 2; n > 1 && n*len(object) > commandWork {
		return appendError(out, fmt.Sprintf("ERR %d members of a value of %d bytes take too long for one command: want at most %d at a time, or GET the value",
			n, len(object), commandWork/len(object)))
	}
	before := len(out)
	out = appendArray(out, len(x.args)-2)
	for _, name := range x.args[2:] {
		v, err := x.memberOf(object, name)
		if err != nil {
			return appendError(out[:before], err.Error())
		}
		out = appendMember(out, c, v)
		if most := x.port.cfg.Bytes; len(out)-before > most {
			return appendError(out[:before], fmt.Sprintf("ERR the members have more than %d bytes (FRESHET_BATCH_BYTES)", most))
		}
	}
	return out
}

func hexists(x *executor, c *conn, out []byte) []byte {
	object, err := x.object(c)
	if err != nil {
		return appendError(out, err.Error())
	}
	v, err := x.memberOf(object, x.args[2])
	switch {
	case err != nil:
		return appendError(out, err.Error())
	case v.Kind() == member.Missing:
		return appendInt(out, 0)
	}
	return appendInt(out, 1)
}

// members returns a command that replies with the names of an object's members, their values, or both.
func members(names, values bool) func(*executor, *conn, []byte) []byte {
	return func(x *executor, c *conn, out []byte) []byte {
		object, err := x.object(c)
		if err != nil {
			return appendError(out, err.Error())
		}
		x.work += 2 * len(object)
		n := 0
		for range member.Whole(object).Members() {
			n++
		}
		switch {
		case names && values:
			out = appendMap(out, c.Protocol(), n)
		case names || values:
			out = appendArray(out, n)
		default:
			return appendInt(out, n)
		}
		for name, v := range member.Whole(object).Members() {
			if names {
				out = appendBulk(out, name)
			}
			if values {
				out = appendBulk(out, v.Text())
			}
		}
		return out
	}
}
