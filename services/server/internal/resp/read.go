package resp

import "fmt"

func get(x *executor, c *conn, out []byte) []byte {
	t, key, err := x.find(c, x.args[1])
	if err != nil {
		return appendError(out, err.Error())
	}
	value, ok := t.Get(key)
	if !ok {
		return appendNull(out, c.Protocol())
	}
	return appendBulk(out, value)
}

func mget(x *executor, c *conn, out []byte) []byte {
	keys := x.args[1:]
	if most := x.port.cfg.Keys; len(keys) > most {
		return appendError(out, fmt.Sprintf("ERR the command has %d keys, the limit is %d (FRESHET_BATCH_KEYS); send several", len(keys), most))
	}
	values, err := x.lookupAll(c, keys)
	if err != nil {
		return appendError(out, err.Error())
	}
	total := 0
	for _, v := range values {
		total += len(v)
	}
	if most := x.port.cfg.Bytes; total > most {
		return appendError(out, fmt.Sprintf("ERR the values have %d bytes, the limit is %d (FRESHET_BATCH_BYTES); send several commands", total, most))
	}
	out = appendArray(out, len(values))
	for _, v := range values {
		if v == nil {
			out = appendNull(out, c.Protocol())
		} else {
			out = appendBulk(out, v)
		}
	}
	return out
}

func exists(x *executor, c *conn, out []byte) []byte {
	values, err := x.lookupAll(c, x.args[1:])
	if err != nil {
		return appendError(out, err.Error())
	}
	n := 0
	for _, v := range values {
		if v != nil {
			n++
		}
	}
	return appendInt(out, n)
}

// value returns the value of the record that the command's first argument names; nil if there is none. Its error is the reply.
func (x *executor) value(c *conn) ([]byte, error) {
	t, key, err := x.find(c, x.args[1])
	if err != nil {
		return nil, err
	}
	value, _ := t.Get(key)
	return value, nil
}

func strlen(x *executor, c *conn, out []byte) []byte {
	value, err := x.value(c)
	if err != nil {
		return appendError(out, err.Error())
	}
	return appendInt(out, len(value))
}

// typeOf says string for every record, because GET reads it. The commands of hashes read those whose value is a JSON object.
func typeOf(x *executor, c *conn, out []byte) []byte {
	value, err := x.value(c)
	switch {
	case err != nil:
		return appendError(out, err.Error())
	case value == nil:
		return appendSimple(out, "none")
	}
	return appendSimple(out, "string")
}

// ttl says -1 for every record: none expires.
func ttl(x *executor, c *conn, out []byte) []byte {
	value, err := x.value(c)
	switch {
	case err != nil:
		return appendError(out, err.Error())
	case value == nil:
		return appendInt(out, -2)
	}
	return appendInt(out, -1)
}
