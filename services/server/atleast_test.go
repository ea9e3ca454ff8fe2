package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
)

// idOf is the id of a version in the history of the test's source.
func idOf(version uint64) dataset.VersionID { return dataset.VersionID{byte(version)} }

// tokenOf returns the token of a version of cities.
func tokenOf(version uint64) string {
	return dataset.Token{Dataset: "cities", Ref: dataset.Ref{Version: version, ID: idOf(version)}}.String()
}

// otherToken returns the token of a version with the number of another history.
func otherToken(version uint64) string {
	return dataset.Token{Dataset: "cities", Ref: dataset.Ref{Version: version, ID: dataset.VersionID{byte(version), 1}}}.String()
}

// State returns the state that the status has.
func (d served) State() fleet.State {
	if d.source.says[d.name] == nil && d.Load() != nil {
		return fleet.Fresh // without an allocation
	}
	status, _ := d.source.Status().Dataset(d.name)
	return status.State
}

// AtLeast waits as a subscriber does, in a store that has every version that is served.
func (d served) AtLeast(ctx context.Context, want dataset.Ref) (*table.Table, dataset.VersionID, error) {
	for {
		swapped := *d.source.swapped.Load()
		if rec, ok := d.Deleted(); ok && d.Load() == nil && rec.Version >= want.Version {
			return nil, idOf(rec.Version), nil
		}
		var now dataset.Ref
		if t := d.Load(); t != nil {
			if now = (dataset.Ref{Version: t.Version(), ID: d.VersionID()}); now.Version >= want.Version {
				if want.ID == idOf(want.Version) {
					return t, now.ID, nil
				}
				return nil, now.ID, &subscribe.HistoryError{Dataset: d.name, Want: want, Stored: dataset.Ref{Version: want.Version, ID: idOf(want.Version)}, Served: now}
			}
		}
		select {
		case <-swapped:
		case <-ctx.Done():
			return nil, now.ID, &subscribe.BehindError{Dataset: d.name, Want: want, Served: now, Why: "the dataset is " + string(d.State()), Err: context.Cause(ctx)}
		}
	}
}

// IndexesAtLeast waits as a subscriber does.
func (d served) IndexesAtLeast(ctx context.Context, want dataset.Ref) (*index.Set, error) {
	for {
		swapped := *d.source.swapped.Load()
		set := d.Indexes()
		if set != nil && set.Table().Version() >= want.Version {
			return set, nil
		}
		select {
		case <-swapped:
		case <-ctx.Done():
			return nil, &subscribe.BehindError{Dataset: d.name, Want: want, Served: dataset.Ref{Version: set.Table().Version(), ID: set.ID()}, Why: "the indexes are behind", Err: context.Cause(ctx)}
		}
	}
}

// ways are the ways to name a token in a request.
var ways = map[string]func(path, token, wait string) (string, []string){
	"headers": func(path, token, wait string) (string, []string) {
		return path, []string{"Freshet-At-Least", token, "Freshet-Wait", wait}
	},
	"query": func(path, token, wait string) (string, []string) {
		return path + "?at_least=" + token + "&wait=" + wait, nil
	},
	"both": func(path, token, wait string) (string, []string) {
		return path + "?at_least=" + token, []string{"Freshet-At-Least", token, "Freshet-Wait", wait}
	},
}

// reads are the ways to read.
var reads = map[string]func(h http.Handler, path string, header ...string) *httptest.ResponseRecorder{
	"GET": func(h http.Handler, query string, header ...string) *httptest.ResponseRecorder {
		return send(h, "GET", records+"a"+query, "", header...)
	},
	"HEAD": func(h http.Handler, query string, header ...string) *httptest.ResponseRecorder {
		return send(h, "HEAD", records+"a"+query, "", header...)
	},
	"batchGet": func(h http.Handler, query string, header ...string) *httptest.ResponseRecorder {
		return send(h, "POST", "/v1/datasets/cities/records:batchGet"+query, `{"keys":["a"]}`, header...)
	},
	"scan": func(h http.Handler, query string, header ...string) *httptest.ResponseRecorder {
		return send(h, "POST", "/v1/datasets/cities/scan"+query, `{}`, header...)
	},
}

// A read with a token waits for the version, is woken by the swap, and answers at once from a version that has it. It waits no longer than it
// says, and then says what is served.
func TestReadAtLeast(t *testing.T) {
	before, after := tableOf(t, 16, map[string]string{"a": `{"v":16}`}), tableOf(t, 18, map[string]string{"a": `{"v":18}`})
	for way, name := range ways {
		for method, read := range reads {
			t.Run(way+" "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSource("cities", "prices")
					s.show("cities", before)
					h := newServer(t, s).Handler()
					get := func(token, wait string) (rec *httptest.ResponseRecorder, took time.Duration) {
						start := time.Now()
						query, header := name("", token, wait)
						rec = read(h, query, header...)
						return rec, time.Since(start)
					}
					for _, version := range []uint64{16, 3} {
						if rec, took := get(tokenOf(version), "1s"); rec.Code != 200 || took != 0 || rec.Header().Get("Freshet-Version") != "16" {
							t.Errorf("after %s: %d %v", took, rec.Code, rec.Header())
						}
					}
					rec, took := get(tokenOf(17), "500ms")
					if took != 500*time.Millisecond || rec.Header().Get("Retry-After") != "1" || rec.Header().Get("Freshet-Version") != "16" ||
						rec.Header().Get("Freshet-Version-Id") != idOf(16).String() || rec.Header().Get("Freshet-State") != "fresh" || rec.Header().Get("Freshet-Error") != "not-yet" {
						t.Errorf("after %s: %d %v", took, rec.Code, rec.Header())
					}
					doc := wantProblem(t, rec, 503, "not-yet")
					if doc["version"] != 16.0 || doc["version_id"] != idOf(16).String() || doc["state"] != "fresh" || doc["dataset"] != "cities" ||
						!strings.Contains(doc["detail"].(string), "version 17 (110000000000) is not served yet, version 16 (100000000000) is served") {
						t.Errorf("%v", doc)
					}
					if rec, took := get(tokenOf(17), "0"); rec.Code != 503 || took != 0 {
						t.Errorf("after %s: %d", took, rec.Code)
					}
					time.AfterFunc(300*time.Millisecond, func() { s.show("cities", after) })
					if rec, took := get(tokenOf(17), "2s"); rec.Code != 200 || took != 300*time.Millisecond || rec.Header().Get("Freshet-Version") != "18" {
						t.Errorf("after %s: %d %v", took, rec.Code, rec.Header())
					}
					rec, took = get(otherToken(17), "2s")
					if doc := wantProblem(t, rec, 412, "other-history"); took != 0 || doc["version"] != 18.0 || fmt.Sprint(doc["stored"]) != "map[id:"+idOf(17).String()+" version:17]" {
						t.Errorf("after %s: %v", took, doc)
					}
				})
			})
		}
	}
}

// A read that does not say how long waits a second, and none waits longer than FRESHET_WAIT_MAX.
func TestWaitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("cities", "prices")
		for most, want := range map[time.Duration][2]time.Duration{
			10 * time.Second: {time.Second, 10 * time.Second}, 300 * time.Millisecond: {300 * time.Millisecond, 300 * time.Millisecond}, 0: {0, 0},
		} {
			cfg := config()
			cfg.WaitMax = most
			h := newServerWith(t, cfg, s).Handler()
			for i, header := range [][]string{nil, {"Freshet-Wait", "1h"}} {
				start := time.Now()
				rec := send(h, "GET", records+"a", "", append(header, "Freshet-At-Least", tokenOf(1))...)
				if took := time.Since(start); rec.Code != 503 || took != want[i] || rec.Header().Get("Freshet-State") != "waiting" {
					t.Errorf("with at most %s and %q: %d after %s", most, header, rec.Code, took)
				}
			}
		}
	})
}

// More reads than FRESHET_MAX_WAITS do not wait: they are refused. Reads that need not wait are served nevertheless.
func TestWaitsAreBoundedInNumber(t *testing.T) {
	before, after := tableOf(t, 1, map[string]string{"a": `{}`}), tableOf(t, 2, map[string]string{"a": `{}`})
	synctest.Test(t, func(t *testing.T) {
		s := newSource("cities", "prices")
		s.show("cities", before)
		h := newServer(t, s).Handler()
		var waiters sync.WaitGroup
		for range config().MaxWaits {
			waiters.Go(func() {
				if rec := send(h, "GET", records+"a", "", "Freshet-At-Least", tokenOf(2), "Freshet-Wait", "10s"); rec.Code != 200 {
					t.Errorf("%d %s", rec.Code, rec.Body)
				}
			})
		}
		synctest.Wait()
		rec := send(h, "GET", records+"a", "", "Freshet-At-Least", tokenOf(2))
		if wantProblem(t, rec, 503, "busy"); rec.Header().Get("Retry-After") != "1" || rec.Header().Get("Freshet-Version") != "1" {
			t.Errorf("%v", rec.Header())
		}
		if rec := send(h, "GET", records+"a", "", "Freshet-At-Least", tokenOf(1)); rec.Code != 200 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		s.show("cities", after)
		waiters.Wait()
		if rec := send(h, "GET", records+"a", "", "Freshet-At-Least", tokenOf(3), "Freshet-Wait", "1ms"); rec.Code != 503 || rec.Header().Get("Freshet-Error") != "not-yet" {
			t.Errorf("%d %v", rec.Code, rec.Header())
		}
	})
}

// A request that cannot be meant is refused, whatever is served.
func TestRefusedTokens(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 16, map[string]string{"a": `{}`})
	h := newServer(t, s).Handler()
	ofPrices := strings.Replace(tokenOf(1), "cities", "prices", 1)
	for name, c := range map[string]struct {
		query  string
		header []string
		kind   string
		want   string
	}{
		"an empty token":    {"?at_least=", nil, "bad-token", "the token is empty"},
		"an empty header":   {"", []string{"Freshet-At-Least", ""}, "bad-token", "the token is empty"},
		"no token":          {"", []string{"Freshet-At-Least", "17"}, "bad-token", `"17" has no /`},
		"a number":          {"?at_least=cities/17", nil, "bad-token", "the number alone names no version"},
		"another dataset":   {"", []string{"Freshet-At-Least", ofPrices}, "other-dataset", "is of dataset prices, and the request of cities"},
		"no duration":       {"?at_least=" + tokenOf(1) + "&wait=5", nil, "bad-parameter", "want a duration such as 500ms"},
		"a negative wait":   {"?at_least=" + tokenOf(1), []string{"Freshet-Wait", "-1s"}, "bad-parameter", "want a duration such as 500ms"},
		"two tokens":        {"?at_least=" + tokenOf(1), []string{"Freshet-At-Least", tokenOf(2)}, "bad-parameter", "leave one of them out"},
		"a misspelt name":   {"?at_lest=" + tokenOf(1), nil, "bad-parameter", `there is no parameter "at_lest" (did you mean at_least?); use at_least and wait`},
		"an unknown name":   {"?fresh=true", nil, "bad-parameter", `there is no parameter "fresh"; use at_least and wait`},
		"a parameter twice": {"?wait=1s&wait=2s", nil, "bad-parameter", "comes twice"},
	} {
		for method, read := range reads {
			rec := read(h, c.query, c.header...)
			if rec.Header().Get("Freshet-Error") != c.kind {
				t.Errorf("%s by %s: %v", name, method, rec.Header())
			}
			if doc := wantProblem(t, rec, 400, c.kind); !strings.Contains(doc["detail"].(string), c.want) {
				t.Errorf("%s by %s: %v", name, method, doc)
			}
		}
	}
	req := httptest.NewRequest("GET", records+"a", nil)
	req.Header["Freshet-At-Least"] = []string{tokenOf(1), tokenOf(1)}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	wantProblem(t, rec, 400, "bad-header")
	wantProblem(t, send(h, "GET", "/v1/status?x=1", ""), 400, "bad-parameter")
}

// A client that leaves ends its wait and gives its place back.
func TestClientLeavesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource("cities", "prices")
		cfg := config()
		cfg.MaxWaits = 1
		h := newServerWith(t, cfg, s).Handler()
		for range 3 {
			ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
			req := httptest.NewRequestWithContext(ctx, "GET", records+"a", nil)
			req.Header.Set("Freshet-At-Least", tokenOf(1))
			req.Header.Set("Freshet-Wait", "10s")
			start, aborted := time.Now(), false
			func() {
				defer func() { aborted = recover() == http.ErrAbortHandler }()
				h.ServeHTTP(httptest.NewRecorder(), req)
			}()
			if took := time.Since(start); took != 100*time.Millisecond || !aborted {
				t.Errorf("it ended after %s, aborted: %t", took, aborted)
			}
			leave()
		}
	})
}

// A wait for a version that deletes the dataset answers as a lookup without a token does.
func TestAtLeastADeletedVersion(t *testing.T) {
	s := newSource("cities", "prices")
	s.deleted["cities"] = dataset.VersionRecord{Dataset: "cities", Version: 2, Deleted: true, By: "ann@host"}
	h := newServer(t, s).Handler()
	wantProblem(t, send(h, "GET", records+"a", "", "Freshet-At-Least", tokenOf(2)), 404, "deleted")
}

// A server that stops answers the lookups that wait for a version, and does not let them wait out their time.
func TestStopEndsWait(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 16, map[string]string{"a": `{}`})
	cfg := config()
	cfg.MaxWaits, cfg.StopGrace, cfg.WaitMax = 1, time.Minute, 30*time.Second
	srv := newServerWith(t, cfg, s)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	ended := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + srv.Addr() + records + "a?wait=30s&at_least=" + tokenOf(17))
		if err != nil {
			ended <- err.Error()
			return
		}
		res.Body.Close()
		ended <- res.Header.Get("Freshet-Error")
	}()
	for srv.Waiting() == 0 {
		runtime.Gosched()
	}
	stop()
	if got := <-ended; got != "stopping" {
		t.Errorf("the lookup that waited got %q, want stopping", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}
