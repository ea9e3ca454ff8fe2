package relays_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/relays"
)

// Invariant: relays that failed or sent wrong bytes rank after the others for a while, the earliest first, and the order has
// every relay.
func TestRelaysThatFailRankLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, []string{"http://a", "http://b", "http://c", "http://d"})
		key := []byte("key")
		first := order(s, key)
		at := func(i int) *relays.Relay {
			all := s.All()
			return all[slices.IndexFunc(all, func(r *relays.Relay) bool { return r.String() == first[i] })]
		}
		expect := func(what string, want ...int) {
			t.Helper()
			got := order(s, key)
			for place, i := range want {
				if got[place] != first[i] {
					t.Errorf("%s: %v, want %v of %v", what, got, want, first)
					return
				}
			}
		}
		down := errors.New("down")
		s.Refuse(at(0), errors.New("wrong"))
		time.Sleep(time.Second)
		if !s.Fail(at(2), down) || s.Fail(at(2), down) {
			t.Error("only the first failure is reported as the first")
		}
		time.Sleep(time.Second)
		s.Fail(at(1), down)
		expect("three did badly", 3, 2, 1, 0)
		if h := s.Health(); s.AnyTrusted() != true || len(h) != 4 {
			t.Errorf("%+v", h)
		}
		if !s.Served(at(1)) || s.Served(at(1)) {
			t.Error("Served reports the recovery once")
		}
		expect("one is back", 1, 3, 2, 0)
		time.Sleep(30 * time.Second)
		expect("another cooldown ended", 1, 2, 3, 0)
		if s.Fail(at(2), down) {
			t.Error("a failure without service in between is not the first")
		}
		time.Sleep(5 * time.Minute)
		expect("all ended", 0, 1, 2, 3)
		for i := range 4 {
			s.Refuse(at(i), down)
		}
		if s.AnyTrusted() || len(order(s, key)) != 4 {
			t.Error("all are distrusted, and the order must have each")
		}
	})
}

func TestParseHidesPasswords(t *testing.T) {
	for text, want := range map[string]string{
		"http://h:8481":               "",
		"https://user:hunter2@h/a/":   "",
		"dir:///data":                 "the scheme",
		"http://":                     "no host",
		"http://u:hunter2@h?x=1":      "query",
		"http://u:hunter2@[::1":       "not a URL",
		"http://hunter2/x@h:8481":     "%2F %3F %23",
		"http://u:1/hunter2@h:8481":   "%2F %3F %23",
		"http://h/a%40b":              "",
		"http://u:hunter2@h:8481,h:1": "not a URL",
		"http://a,http://u:hunter2@b": "is a list of URLs",
	} {
		u, err := relays.Parse(text)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v, %v; want %q", text, u, err, want)
		}
	}
	s := set(t, []string{"http://u:hunter2@H:1/", "http://h:1", "http://h:2"})
	if all := s.All(); !all[0].Same(all[1]) || all[0].Same(all[2]) || strings.Contains(all[0].String(), "hunter2") {
		t.Errorf("%v", all)
	}
	if _, err := relays.New([]string{"http://h", "ftp://h"}, 0); err == nil || !strings.Contains(err.Error(), "relay 2 has the scheme") {
		t.Errorf("%v", err)
	}
}
