package resp

import (
	"bytes"
	"fmt"
	"strconv"
)

// Limits of a client that has not sent the password yet, as in Redis.
const (
	strangerArgs  = 10
	strangerBytes = 16 << 10
)

// longestInline is the length of the longest command in a line, as in Redis.
const longestInline = 64 << 10

// limits bound one command.
type limits struct{ args, bytes int }

// protocolError is a violation of the protocol, after which nothing that the client sends can be understood.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// progress is how far a command has been read that has not arrived completely. It makes the cost of a command proportional to its length,
// however slowly it arrives. The zero value is the beginning of a command.
type progress struct {
	next  int    // position of the next argument
	left  int    // arguments to read, 0 at the beginning of a command
	need  int    // bytes without which no further argument is complete
	spans []span // of the arguments read
}

type span struct{ from, to int }

// parse reads the command at the beginning of in and appends its arguments, which alias in, to args. n is its length in bytes; 0 if the command
// is incomplete. Then p has what is needed to go on with a longer in that begins with the same bytes.
func parse(in []byte, p *progress, lim limits, args [][]byte) (parsed [][]byte, n int, err error) {
	at, left := p.next, p.left
	switch {
	case left > 0:
		if len(in) < p.need {
			return args, 0, nil
		}
		for _, s := range p.spans {
			args = append(args, in[s.from:s.to:s.to])
		}
	case in[0] != '*':
		return parseInline(in, lim, args)
	default:
		count, next, err := number(in, 1)
		switch {
		case err != nil || count > lim.args:
			if count > lim.args {
				return args, 0, protocolError(fmt.Sprintf("invalid multibulk length: %d arguments, the limit is %d", count, lim.args))
			}
			return args, 0, protocolError("invalid multibulk length")
		case next == 0:
			return args, 0, nil
		case count <= 0:
			return args, next, nil
		}
		at, left = next, count
	}
	first, all := at, left
	for ; left > 0; left-- {
		if at >= len(in) {
			p.pause(in, first, all-left, at, left, at+1)
			return args, 0, nil
		}
		if in[at] != '$' {
			return args, 0, protocolError(fmt.Sprintf("expected '$', got %q", in[at:at+1]))
		}
		size, next, err := number(in, at+1)
		switch {
		case err != nil || size < 0 || next != 0 && size > lim.bytes-next:
			return args, 0, protocolError(fmt.Sprintf("invalid bulk length: the limit of a command is %d bytes", lim.bytes))
		case next == 0:
			p.pause(in, first, all-left, at, left, len(in)+1)
			return args, 0, nil
		case len(in) < next+size+2:
			p.pause(in, first, all-left, at, left, next+size+2)
			return args, 0, nil
		case in[next+size] != '\r' || in[next+size+1] != '\n':
			return args, 0, protocolError("no line end after a bulk string")
		}
		args = append(args, in[next:next+size:next+size])
		at = next + size + 2
	}
	*p = progress{spans: p.spans[:0]}
	return args, at, nil
}

// pause records in p that the next argument is at at, with left arguments to read, and that in must have need bytes before it is complete.
// The last read arguments are those from position first on.
func (p *progress) pause(in []byte, first, read, at, left, need int) {
	p.next, p.left, p.need = at, left, need
	for range read {
		size, from, _ := number(in, first+1) // parsed before
		p.spans = append(p.spans, span{from, from + size})
		first = from + size + 2
	}
}

var errNumber = protocolError("not a number")

// number reads a number and the end of its line at position at. next is the position after it, 0 if the line is incomplete.
func number(in []byte, at int) (n, next int, err error) {
	const mostDigits = 10
	sign := 1
	i := at
	if i < len(in) && in[i] == '-' {
		sign = -1
		i++
	}
	first := i
	for ; i < len(in); i++ {
		d := in[i] - '0'
		if d > 9 {
			break
		}
		if n = n*10 + int(d); i-first >= mostDigits-1 && n > 1<<30 {
			return 0, 0, errNumber
		}
	}
	switch {
	case i-first > mostDigits, i < len(in) && (i == first || in[i] != '\r'), i+1 < len(in) && in[i+1] != '\n':
		return 0, 0, errNumber
	case i+1 >= len(in):
		return 0, 0, nil
	}
	return sign * n, i + 2, nil
}

// parseInline reads a command in a line, with arguments separated by space.
func parseInline(in []byte, lim limits, args [][]byte) (parsed [][]byte, n int, err error) {
	most := min(lim.bytes, longestInline)
	end := bytes.IndexByte(in[:min(len(in), most)], '\n')
	if end < 0 {
		if len(in) >= most {
			return args, 0, protocolError("too big inline request")
		}
		return args, 0, nil
	}
	for line := bytes.TrimSuffix(in[:end], []byte("\r")); ; {
		line = bytes.TrimLeft(line, " \t")
		if len(line) == 0 {
			return args, end + 1, nil
		}
		var arg []byte
		if arg, line, err = inlineArgument(line); err != nil {
			return args, 0, err
		}
		if args = append(args, arg); len(args) > lim.args {
			return args, 0, protocolError(fmt.Sprintf("the limit of a command is %d arguments", lim.args))
		}
	}
}

const errQuotes = protocolError("unbalanced quotes in request")

// inlineArgument returns the first argument of the line and the rest. An argument may be in quotes: in double ones \n, \r, \t, \xff and
// others are escapes, in single ones only \'.
func inlineArgument(line []byte) (arg, rest []byte, err error) {
	quote := line[0]
	if quote != '"' && quote != '\'' {
		end := bytes.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		return line[:end], line[end:], nil
	}
	for i := 1; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote:
			if rest := line[i+1:]; len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' {
				return arg, rest, nil
			}
			return nil, nil, errQuotes
		case c != '\\' || i+1 == len(line) || quote == '\'' && line[i+1] != '\'':
			arg = append(arg, c)
		case quote == '"' && line[i+1] == 'x' && i+3 < len(line):
			b, err := strconv.ParseUint(string(line[i+2:i+4]), 16, 8)
			if err != nil {
				return nil, nil, errQuotes
			}
			arg = append(arg, byte(b))
			i += 3
		default:
			i++
			arg = append(arg, unescape(line[i]))
		}
	}
	return nil, nil, errQuotes
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}
