package resp

import (
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

// A turn ends after some work, however short the replies are, so that the other connections of a loop do not wait for a pipeline.
func TestTurnsOfHeavyCommands(t *testing.T) {
	records := map[string]string{"big": `{"a":"` + strings.Repeat("x", dataset.MaxValueBytes/2) + `","z":1}`}
	for i := range 2 * mostCount {
		records[fmt.Sprint(i)] = ""
	}
	p := newPort(testConfig(), map[string]*fake{"d": new(fake).serve(t, 1, records)})
	for command, most := range map[string]int{
		encode("HGET", "d:big", "z"):                            2,
		encode("HLEN", "d:big"):                                 1,
		encode("SCAN", "0", "MATCH", "d:q*", "COUNT", "999999"): 1,
	} {
		k := newTalk(t, p)
		in := []byte(strings.Repeat(command, 100))
		for len(in) > 0 {
			rest, out := k.executor.run(k.conn, in, nil)
			if n := (len(in) - len(rest)) / len(command); n < 1 || n > most || !k.executor.more(out) {
				t.Fatalf("%.40q: %d commands in a turn, %d bytes of replies", command, n, len(out))
			}
			in = rest
		}
	}
	k := newTalk(t, p)
	names := strings.Repeat(" z", 60)
	if got := k.do(strings.Fields("HMGET d:big" + names)...); !strings.HasPrefix(got, "*60\r\n$1\r\n1\r\n") {
		t.Errorf("%.100q", got)
	}
	p.limits.args = 100
	if got := k.do(strings.Fields("HMGET d:big" + names + " z z z z z")...); !strings.HasPrefix(got, "-ERR 65 members of a value of 524302 bytes take too long for one command: want at most 63 at a time") {
		t.Errorf("%.200q", got)
	}
	r := serveOn(t, p, transport)
	c := r.dial()
	c.send(strings.Repeat(encode("HGET", "d:big", "z"), 100) + encode("PING"))
	c.want(strings.Repeat("$1\r\n1\r\n", 100) + "+PONG\r\n")
}

// When a connection changes to RESP2, unsent pushes are dropped: the client would take them for replies.
func TestNoPushesAfterRESP3(t *testing.T) {
	for _, leave := range []string{encode("RESET"), encode("HELLO", "2")} {
		p := newPort(testConfig(), map[string]*fake{"d": new(fake)})
		p.tracker = new(recorder)
		k := newTalk(t, p)
		k.do("HELLO", "3")
		if !k.conn.Push([]byte(">1\r\n:1\r\n")) {
			t.Fatal("the client is gone")
		}
		k.send(leave)
		if out, ok := k.conn.takePushed(nil); !ok || len(out) > 0 {
			t.Errorf("after %q: %q", leave, out)
		}
	}
}

// CLIENT CACHING affects one command, also one that fails.
func TestCachingEndsWithAnError(t *testing.T) {
	p := newPort(testConfig(), map[string]*fake{"d": new(fake)})
	tracker := new(recorder)
	p.tracker = tracker
	k := newTalk(t, p)
	k.do("CLIENT", "CACHING", "no")
	k.do("GET")
	k.do("NONSENSE")
	if got := tracker.noted(); got != "caching executed executed" {
		t.Error(got)
	}
}

// A client that resets its connection has as long to send the password as a new one.
func TestPasswordAfterReset(t *testing.T) {
	cfg := testConfig()
	cfg.Password = "secret"
	p := newPort(cfg, map[string]*fake{"d": new(fake)})
	k := newTalk(t, p)
	k.do("AUTH", "secret")
	p.clock.Store(authAfter + 1)
	k.do("RESET")
	if why, cut := p.expired(k.conn, 0, false); cut {
		t.Errorf("cut: %s", cutNames[why])
	}
}
