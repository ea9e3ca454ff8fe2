package tracking

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"freshet.dev/pkg/servertest"
)

// rawRedis is a connection to Redis that returns replies as they are on the wire.
type rawRedis struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (c *rawRedis) say(command string) string {
	c.t.Helper()
	words := strings.Fields(command)
	b := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		b += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(c.conn, b); err != nil {
		c.t.Fatal(err)
	}
	return c.reply()
}

// reply reads one reply.
func (c *rawRedis) reply() string {
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			c.t.Fatal(err)
		}
		return line + string(b)
	case '%':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range n {
			line += c.reply()
		}
	}
	return line
}

// Replies, errors and pushes are those of Redis.
func TestSaysWhatRedisSays(t *testing.T) {
	redis := servertest.Redis(t)
	dial := func() *rawRedis {
		conn, err := net.Dial("tcp", redis.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c := &rawRedis{t: t, conn: conn, r: bufio.NewReader(conn)}
		c.say("hello 3")
		return c
	}
	theirs, writer := dial(), dial()
	tracker := newTracker(t, 100, "d")
	ours := connect(tracker)
	for _, command := range strings.Split(strings.TrimSpace(`
client trackinginfo
client getredir
client caching yes
client caching
client caching yes no
client getredir x
client trackinginfo x
client tracking
client tracking maybe
client tracking on what
client tracking on prefix
client tracking on prefix d:
client tracking off
client tracking on bcast optin
client tracking on bcast optout
client tracking on optin optout
client tracking on bcast prefix d:a prefix d:ab
client trackinginfo
client tracking on bcast prefix d:a prefix d:b
client tracking on bcast prefix d:abc
client tracking on bcast prefix d:
client tracking on bcast prefix d:c noloop
client trackinginfo
client getredir
client tracking on
client tracking on optin
client tracking off
client tracking on bcast
client tracking on bcast prefix x
client trackinginfo
CLIENT TRACKING OFF
client tracking on
client tracking on bcast
client caching yes
client caching no
client caching maybe
client trackinginfo
client tracking on optin
client tracking on optout
client caching no
client caching yes
client trackinginfo
client trackinginfo
client tracking on optin noloop
client trackinginfo
client tracking off
client tracking on optout
client caching yes
client caching no
client trackinginfo
client tracking off`), "\n") {
		if got, want := ours.say(command), theirs.say(command); got != want {
			t.Errorf("%s\n%q, and Redis says\n%q", command, got, want)
		}
	}
	var pushed string
	for _, write := range []string{"set d:key 1", "flushall"} {
		theirs.say("client tracking on")
		theirs.say("get d:key")
		writer.say(write)
		pushed += theirs.reply()
	}
	ours.say("client tracking on")
	ours.read("d:key")
	changed(t, tracker, "d", "key")
	ours.read("d:key")
	tracker.Flush(t.Context(), "d")
	if got := string(ours.pushes[0]) + string(ours.pushes[1]); got != pushed {
		t.Errorf("pushed %q, and Redis pushes %q", got, pushed)
	}
}

// The differences from Redis.
func TestRefusals(t *testing.T) {
	a := connect(newTracker(t, 100, "d"))
	long := strings.Repeat("x", maxPrefix+1)
	for command, want := range map[string]string{
		"client tracking on redirect 7":                textRedir,
		"client what":                                  "unknown subcommand 'what'.",
		"client tracking on bcast prefix " + long:      "A prefix can have at most 1089 bytes",
		"client tracking on bcast" + manyPrefixes(257): "A client can track at most 256 prefixes",
	} {
		if got := a.say(command); got != "-ERR "+want+"\r\n" {
			t.Errorf("%.60s: %s", command, got)
		}
	}
	if got := a.say("client tracking on bcast" + manyPrefixes(256)); got != "+OK\r\n" {
		t.Error(got)
	}
	if got := a.say("client tracking on bcast prefix one"); !strings.Contains(got, "at most 256") {
		t.Error(got)
	}
	a.say("client tracking off")
	a.proto.Store(2)
	if got := a.say("client tracking on"); got != "-ERR "+textRESP2+"\r\n" {
		t.Error(got)
	}
	want := "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n"
	if got := a.say("client trackinginfo"); got != want {
		t.Errorf("%q", got)
	}
	if got := string(a.Command(nil, [][]byte{[]byte("client"), []byte("tracking"), []byte("on"), []byte("bcast"), []byte("prefix"), []byte("a\r\nb"), []byte("prefix"), []byte("a")})); strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
	a.proto.Store(3)
	if got := string(a.Command(nil, [][]byte{[]byte("client"), []byte("tracking"), []byte("on"), []byte("bcast"), []byte("prefix"), []byte("a\r\nb"), []byte("prefix"), []byte("a")})); !strings.Contains(got, "'a  b' overlaps") {
		t.Errorf("%q", got)
	}
}

func manyPrefixes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " prefix d:%03d", i)
	}
	return b.String()
}
