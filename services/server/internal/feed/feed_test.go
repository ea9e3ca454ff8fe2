package feed_test

import (
	"iter"
	"net/http"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/server/internal/feed"
)

// reading reads the events of a feed one by one.
type reading struct {
	t    testing.TB
	res  *http.Response
	next func() (event, error, bool)
	cut  func()
}

func (s *site) read(query string, header ...string) *reading {
	s.t.Helper()
	res, cut := s.open(query, header...)
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s", query, res.Status)
	}
	next, stop := iter.Pull2(read(res))
	s.t.Cleanup(func() { cut(); stop() })
	return &reading{t: s.t, res: res, next: next, cut: cut}
}

func (r *reading) want(name string) event {
	r.t.Helper()
	e, err, ok := r.next()
	if !ok || err != nil || e.Event != name {
		r.t.Fatalf("got %+v, %v, want the event %s", e, err, name)
	}
	return e
}

func (r *reading) wantVersion(v *version) event {
	r.t.Helper()
	e := r.want("version")
	if e.Version != v.rec.Version || e.ID != v.id || e.Dataset != "prices" || e.By != "test" || !e.Created.Equal(v.rec.Created) || e.Records != float64(len(v.records)) {
		r.t.Fatalf("got %+v, want version %s", e, v.ref())
	}
	return e
}

func TestVersionsAreTold(t *testing.T) {
	for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
		s := newSite(t)
		one := s.serve(1, records{"a": "{}"})
		r := s.read("", "Accept", accept)
		if got := r.res.Header; got.Get("Content-Type") != accept || got.Get("Cache-Control") != "no-store" {
			t.Errorf("the header is %v", got)
		}
		if e := r.wantVersion(one); e.From != nil || e.Changes != nil || !e.Full || e.Position != "1@"+one.id.String() {
			t.Errorf("first %+v", e)
		}
		two := s.serve(2, records{"a": "{}", "b": "{}"})
		if e := r.wantVersion(two); e.From == nil || *e.From != one.ref() || e.Changes != nil {
			t.Errorf("then %+v", e)
		} else if accept == "text/event-stream" && e.lastID != e.Position {
			t.Errorf("the event's id is %q, the position %q", e.lastID, e.Position)
		}
	}
}

func TestAFeedBeginsBeforeTheFirstVersion(t *testing.T) {
	s := newSite(t)
	r := s.read("?from=0&records=true")
	gone := s.remove(1, "no longer sold")
	if e := r.want("deleted"); e.Version != 1 || e.ID != gone.VersionID() || e.Reason != "no longer sold" || e.By != "ops" || e.Serves != nil {
		t.Errorf("%+v", e)
	}
	two := s.serve(2, records{"a": "1"})
	if e := r.want("reset"); e.Why != "start" {
		t.Errorf("%+v", e)
	}
	r.want("change")
	r.wantVersion(two)
	s.remove(3, "again")
	if e := r.want("deleted"); e.Serves == nil || *e.Serves != two.ref() || e.Dropped {
		t.Errorf("%+v", e)
	}
	r = s.read("") // a reader that connects now learns both
	r.wantVersion(two)
	r.want("deleted")
	four := s.serve(4, records{})
	r.wantVersion(four)
}

func TestChangedRecords(t *testing.T) {
	for _, format := range []string{"sse", "ndjson"} {
		s := newSite(t)
		all := records{"a": `{"n":1}`, "b": "\x00\xff", "\xffkey": `"x"`, "lines\n": "{\r\n \"n\": 1\n}", "gone": "null", "": ""}
		delete(all, "")
		one := s.serve(1, all)
		m := &mirror{t: t, of: s.world, records: make(records)}
		one.records["lines\n"] = `{   "n": 1 }` // line breaks become blanks
		r := s.read("?from=0&records=true&format=" + format)
		m.take(r.want("reset"))
		for range all {
			m.take(r.want("change"))
		}
		m.take(r.wantVersion(one))
		delete(all, "gone")
		all["a"], all["new"] = `{"n":2}`, "[]"
		two := s.serve(2, all)
		two.records["lines\n"] = one.records["lines\n"]
		for range 3 {
			m.take(r.want("change"))
		}
		if e := r.wantVersion(two); *e.Changes != (dataset.Changes{Added: 1, Changed: 1, Removed: 1}) {
			t.Errorf("%+v", e)
		} else {
			m.take(e)
		}
		s.replay() // no event
		three := s.serve(3, records{})
		for range all {
			m.take(r.want("change"))
		}
		m.take(r.wantVersion(three))
	}
}

func TestResume(t *testing.T) {
	s := newSite(t)
	one := s.serve(1, records{"a": "1", "other": "1"})
	two := s.serve(2, records{"a": "2", "other": "2"})
	three := s.serve(3, records{"a": "3", "other": "2"})
	other := dataset.VersionID{99}.String()
	for name, c := range map[string]struct {
		from    *version // nil: a reset
		why     string
		query   string
		lastID  string
		changes int
	}{
		"the version before":            {from: two, query: "?records=true&from=2@" + two.id.String(), changes: 1},
		"two versions before":           {from: one, query: "?records=true&from=1@" + one.id.String(), changes: 2},
		"with a prefix":                 {from: one, query: "?records=true&prefix=oth&from=1@" + one.id.String(), changes: 1},
		"without records":               {from: one, query: "?from=1@" + one.id.String()},
		"the header goes first":         {from: two, query: "?records=true&from=0", lastID: "2@" + two.id.String(), changes: 1},
		"another id":                    {why: "not-kept", query: "?records=true&from=2@" + other, changes: 2},
		"the served number, another id": {why: "other-id", query: "?records=true&from=3@" + other, changes: 2},
		"an unknown number":             {why: "not-kept", query: "?records=true&from=2", changes: 2},
		"all":                           {why: "start", query: "?records=true&from=0", changes: 2},
		"all again":                     {why: "start", query: "?records=true&from=3@" + three.id.String(), lastID: "0", changes: 2},
		"without sense":                 {why: "unreadable", query: "?records=true&from=0", lastID: "x", changes: 2},
		"a reset without records":       {why: "other-id", query: "?from=3@" + other},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			r := s.read(c.query, "Last-Event-ID", c.lastID)
			if c.why != "" {
				if e := r.want("reset"); e.Why != c.why || e.Reason == "" || e.Records != strings.Contains(c.query, "records=true") {
					t.Errorf("got %+v, want %s", e, c.why)
				}
			}
			for range c.changes {
				r.want("change")
			}
			e := r.wantVersion(three)
			if (e.From == nil) != (c.from == nil) || c.from != nil && *e.From != c.from.ref() {
				t.Errorf("got %+v, want the changes since %v", e, c.from)
			}
		})
	}
	s.t = t
	r := s.read("?records=true&from=3@" + three.id.String()) // no event
	until(t, "the feed", func() bool { return s.following() > 0 })
	four := s.serve(4, records{"a": "3"})
	r.want("change")
	r.wantVersion(four)
}

// A reader that a faster instance has served waits for this one, for a while.
func TestReaderThatIsAhead(t *testing.T) {
	s := newSite(t)
	s.serve(1, records{"a": "1"})
	two, three := dataset.VersionID{2}, dataset.VersionID{3}
	r := s.read("?records=true&from=2@" + two.String())
	later := s.read("?records=true&from=3@" + three.String())
	until(t, "both", func() bool { return s.following() == 2 })
	if v := s.serve(2, records{"a": "2"}); v.id != two {
		t.Fatalf("version 2 has the id %s", v.id)
	}
	v := s.serve(3, records{"a": "3"})
	r.want("change")
	if e := r.wantVersion(v); e.From == nil || e.From.Version != 2 {
		t.Errorf("%+v", e)
	}
	s.serve(4, records{"a": "3", "b": "4"})
	e := later.want("change")
	if keyOf(e) != "b" {
		t.Errorf("%+v", e)
	}

	s = newSite(t, func(c *feed.Config) { c.Ahead = 1 })
	s.serve(1, records{"a": "1"})
	r = s.read("?records=true&from=9@" + two.String())
	if e := r.want("reset"); e.Why != "ahead" || e.Since != "9@"+two.String() {
		t.Errorf("%+v", e)
	}
}

func TestRefusals(t *testing.T) {
	s := newSite(t, func(c *feed.Config) { c.Most = 1 })
	s.serve(1, records{})
	for query, want := range map[string]string{
		"?from=x": "VERSION@ID", "?from=1@": "VERSION@ID", "?from=0@" + dataset.VersionID{1}.String(): "VERSION@ID", "?from=-1": "VERSION@ID", "?from=1@abc": "VERSION@ID",
		"?records=yes": "true or false", "?format=xml": "sse or ndjson", "?prefix=a": "records=true", "?members=a": "there is no parameter",
		"?records=true&prefix=" + strings.Repeat("x", 1025): "1024 bytes",
	} {
		res, _ := s.open(query)
		if text := body(t, res); res.StatusCode != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %s %s", query, res.Status, text)
		}
	}
	first := s.read("")
	res, _ := s.open("")
	if text := body(t, res); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(text, "FRESHET_FEEDS") {
		t.Errorf("a second feed: %s %v %s", res.Status, res.Header, text)
	}
	if got := s.metric("freshet_feeds_refused_total"); got != "1" {
		t.Errorf("%s refusals are counted", got)
	}
	first.cut()
	until(t, "the first feed to end", func() bool { return s.metric(`freshet_feeds_open{dataset="prices"}`) == "0" })
	s.read("").want("version")
}
