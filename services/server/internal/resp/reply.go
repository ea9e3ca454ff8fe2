package resp

import "strconv"

// The functions of this file append a reply, or the beginning of one, to dst.

func appendLine(dst []byte, kind byte, n int) []byte {
	dst = append(dst, kind)
	if uint(n) < 10 {
		return append(dst, '0'+byte(n), '\r', '\n')
	}
	return append(strconv.AppendInt(dst, int64(n), 10), '\r', '\n')
}

func appendInt(dst []byte, n int) []byte { return appendLine(dst, ':', n) }

func appendArray(dst []byte, n int) []byte { return appendLine(dst, '*', n) }

// appendMap begins a map of n pairs; RESP2 has none and gets a list.
func appendMap(dst []byte, proto, n int) []byte {
	if proto == 3 {
		return appendLine(dst, '%', n)
	}
	return appendLine(dst, '*', 2*n)
}

// appendSet begins a set of n members; RESP2 has none and gets a list.
func appendSet(dst []byte, proto, n int) []byte {
	if proto == 3 {
		return appendLine(dst, '~', n)
	}
	return appendLine(dst, '*', n)
}

func appendBulk[B []byte | string](dst []byte, b B) []byte {
	dst = appendLine(dst, '$', len(b))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// appendText appends a text of several lines, for people.
func appendText(dst []byte, proto int, text string) []byte {
	if proto == 3 {
		dst = append(appendLine(dst, '=', len("txt:")+len(text)), "txt:"...)
		return append(append(dst, text...), '\r', '\n')
	}
	return appendBulk(dst, text)
}

// appendSimple appends a text without line ends.
func appendSimple(dst []byte, text string) []byte {
	return append(append(append(dst, '+'), text...), '\r', '\n')
}

func appendOK(dst []byte) []byte { return append(dst, "+OK\r\n"...) }

func appendNull(dst []byte, proto int) []byte {
	if proto == 3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "$-1\r\n"...)
}

// appendNullArray appends the null that RESP2 has for a missing list.
func appendNullArray(dst []byte, proto int) []byte {
	if proto == 3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "*-1\r\n"...)
}

// appendError appends an error. Its text begins with a code such as ERR. Bytes that end lines become spaces.
func appendError(dst []byte, text string) []byte {
	dst = append(dst, '-')
	for i := range len(text) {
		c := text[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}
