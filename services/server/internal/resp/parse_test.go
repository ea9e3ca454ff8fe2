package resp

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

var testLimits = limits{args: 20, bytes: 4096}

// parseAll parses input that arrives in pieces, as a transport does, and returns the commands and the error that ends them.
func parseAll(pieces ...string) (commands [][]string, err error) {
	var p progress
	var in []byte
	for _, piece := range pieces {
		in = append(slices.Clone(in), piece...) // elsewhere each time
		for len(in) > 0 {
			args, n, err := parse(in, &p, testLimits, nil)
			if err != nil {
				return commands, err
			}
			if n == 0 {
				break
			}
			var command []string
			for _, a := range args {
				command = append(command, string(a))
			}
			if len(command) > 0 {
				commands = append(commands, command)
			}
			in = in[n:]
		}
	}
	return commands, nil
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"*1\r\n$4\r\nPING\r\n", "PING"},
		{"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "GET,"},
		{"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*1\r\n$1\r\nx\r\n", "GET,a\r\nb;x"},
		{"*0\r\n*-1\r\n*1\r\n$1\r\nx\r\n", "x"},
		{"PING\r\n\r\n \r\nGET  a:b\tc\n", "PING;GET,a:b,c"},
		{"SET \"a b\\x41\\n\\\"\" 'c\\'d' \"\"\r\n", "SET,a bA\n\",c'd,"},
	} {
		for _, pieces := range [][]string{{c.in}, strings.Split(c.in, "")} {
			commands, err := parseAll(pieces...)
			var got []string
			for _, c := range commands {
				got = append(got, strings.Join(c, ","))
			}
			if err != nil || strings.Join(got, ";") != c.want {
				t.Errorf("%q in %d pieces: %q, %v; want %q", c.in, len(pieces), got, err, c.want)
			}
		}
	}
}

func TestWrongProtocol(t *testing.T) {
	for in, want := range map[string]string{
		"*x\r\n":                            "invalid multibulk length",
		"*\r\n":                             "invalid multibulk length",
		"*21\r\n":                           "21 arguments, the limit is 20",
		"*99999999999999999999\r\n":         "invalid multibulk length",
		"*1\n":                              "invalid multibulk length",
		"*1\r\nx":                           "expected '$', got \"x\"",
		"*1\r\n$-1\r\n":                     "invalid bulk length",
		"*1\r\n$4096\r\n":                   "the limit of a command is 4096 bytes",
		"*1\r\n$9999999999999\r\n":          "invalid bulk length",
		"*1\r\n$1\r\nabc":                   "no line end after a bulk string",
		"GET 'a\r\n":                        "unbalanced quotes",
		"GET \"a\"b\r\n":                    "unbalanced quotes",
		"GET \"\\xzz\"\r\n":                 "unbalanced quotes",
		strings.Repeat("x", 4096):           "too big inline request",
		strings.Repeat("x ", 30) + "\r\n":   "the limit of a command is 20 arguments",
		"*2\r\n$1\r\na\r\n$1\r\nb\r\n*1\nx": "invalid multibulk length",
	} {
		if _, err := parseAll(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", in, err, want)
		}
	}
}

// FuzzParse: what commands are read does not depend on how the bytes arrive.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "PING\r\n*1\r\n$1\r\nx\r\n", "SET \"a\\x41\" 'b'\n", "*3\r\n$1\r\n", "*-1\r\n*0\r\n\r\n"} {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, in string, at uint8) {
		whole, wholeErr := parseAll(in)
		cut := min(int(at), len(in))
		for _, pieces := range [][]string{{in[:cut], in[cut:]}, strings.Split(in, "")} {
			got, err := parseAll(pieces...)
			if (err == nil) != (wholeErr == nil) || err == nil && !slices.EqualFunc(got, whole, slices.Equal) {
				t.Fatalf("%q in %d pieces: %q, %v; whole: %q, %v", in, len(pieces), got, err, whole, wholeErr)
			}
		}
	})
}

// FuzzReplies: whatever a client sends, it gets whole replies of the protocol that it selected, in bounded number and size.
func FuzzReplies(f *testing.F) {
	for _, args := range [][]string{
		{"GET", "cities:KR:1"},
		{"MGET", "cities:KR:1", "cities:x"},
		{"HGETALL", "cities:KR:1"},
		{"HMGET", "cities:KR:1", "at.lat", "x"},
		{"SCAN", "0", "MATCH", "cities:K*", "COUNT", "3"},
		{"HELLO", "3", "SETNAME", "x"},
		{"INFO"},
		{"COMMAND"},
		{"COMMAND", "DOCS"},
		{"CLIENT", "LIST"},
		{"CONFIG", "GET", "*"},
		{"SET", "a", "b"},
		{"AUTH", "x"},
		{"RESET"},
		{"EXISTS", "cities:raw"},
		{"COMMAND", "INFO", "x"},
	} {
		f.Add(encode(args...) + encode(args...))
	}
	p := newPort(testConfig(), map[string]*fake{"cities": cities(f), "later": {}})
	f.Fuzz(func(t *testing.T, in string) {
		for _, proto := range []int32{2, 3} {
			k := newTalk(t, p)
			k.conn.proto.Store(proto)
			for rest := k.send(in); rest != ""; {
				var ok bool
				if rest, ok = wholeReply(rest); !ok {
					t.Fatalf("%q: not a reply: %q", in, rest)
				}
			}
		}
	})
}

// wholeReply returns what follows the first reply.
func wholeReply(in string) (rest string, ok bool) {
	line, rest, ok := strings.Cut(in, "\r\n")
	if !ok || line == "" {
		return in, false
	}
	if strings.ContainsRune("+-:_", rune(line[0])) {
		return rest, true
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil {
		return in, false
	}
	switch line[0] {
	case '$', '=':
		if n < 0 {
			return rest, n == -1
		}
		if len(rest) < n+2 || rest[n:n+2] != "\r\n" {
			return in, false
		}
		return rest[n+2:], true
	case '%':
		n *= 2
	case '*', '~':
	default:
		return in, false
	}
	for range n {
		if rest, ok = wholeReply(rest); !ok {
			return in, false
		}
	}
	return rest, true
}
