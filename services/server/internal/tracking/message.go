package tracking

import "strconv"

// message is an invalidation of keys, or of all keys if it has none. One message may be sent to many clients.
type message struct {
	n    int    // keys
	body []byte // the keys as bulk strings
	made []byte // the whole push, once made
}

// add adds a key.
func (m *message) add(prefix string, key []byte) {
	m.body = arrayOf(m.body, '$', len(prefix)+len(key))
	m.body = append(m.body, prefix...)
	m.body = append(m.body, key...)
	m.body = append(m.body, "\r\n"...)
	m.n++
}

// push returns the message as RESP3 has it.
func (m *message) push() []byte {
	if m.made != nil {
		return m.made
	}
	const header = ">2\r\n$10\r\ninvalidate\r\n"
	m.made = append(make([]byte, 0, len(header)+len(m.body)+16), header...)
	if m.n == 0 {
		m.made = append(m.made, "_\r\n"...)
	} else {
		m.made = append(arrayOf(m.made, '*', m.n), m.body...)
	}
	return m.made
}

// The functions below append replies.

func arrayOf(b []byte, kind byte, n int) []byte {
	b = strconv.AppendInt(append(b, kind), int64(n), 10)
	return append(b, "\r\n"...)
}

func bulk(b []byte, s string) []byte {
	b = append(arrayOf(b, '$', len(s)), s...)
	return append(b, "\r\n"...)
}

func integer(b []byte, n int) []byte { return arrayOf(b, ':', n) }

func accepted(b []byte) []byte { return append(b, "+OK\r\n"...) }

// refused appends an error. Line ends in the text become spaces.
func refused(b []byte, text string) []byte {
	b = append(b, "-ERR "...)
	for i := range len(text) {
		c := text[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		b = append(b, c)
	}
	return append(b, "\r\n"...)
}
