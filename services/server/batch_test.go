package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"freshet.dev/services/internal/web/webtest"
	"github.com/google/go-cmp/cmp"
)

const batch = "/v1/datasets/cities/records:batchGet"

func TestBatchGet(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, map[string]string{"a": `{ "n": 1 }`, "b\"<": `{"n":2}`, "empty": "", "raw": "\xff", "text": "\"\xff\""})
	h := newServer(t, s).Handler()
	rec := send(h, "POST", batch, `{"keys":["a","none","b\"<","a","raw"]}`)
	type entry struct {
		Key   string
		Found bool
		Value json.RawMessage
		B64   *string `json:"value_base64"`
	}
	var got struct {
		Dataset string
		Version int
		Records []entry
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, rec.Body)
	}
	b64 := "/w=="
	want := []entry{
		{"a", true, json.RawMessage(`{ "n": 1 }`), nil},
		{"none", false, nil, nil},
		{"b\"<", true, json.RawMessage(`{"n":2}`), nil},
		{"a", true, json.RawMessage(`{ "n": 1 }`), nil},
		{"raw", true, nil, &b64},
	}
	if diff := cmp.Diff(want, got.Records); diff != "" || got.Dataset != "cities" || got.Version != 3 || rec.Header().Get("Freshet-Version") != "3" {
		t.Errorf("%s\n%v\n%s", rec.Body, rec.Header(), diff)
	}
	if rec := send(h, "POST", batch, `{"keys":["text"]}`); !strings.Contains(rec.Body.String(), `"found":true,"value_base64":"Iv8i"`) {
		t.Errorf("a string that is not UTF-8: %q", rec.Body)
	}
	if rec := send(h, "POST", batch, `{"keys":["empty"]}`); !strings.Contains(rec.Body.String(), `"found":true,"value_base64":""`) {
		t.Errorf("%s", rec.Body)
	}
}

func TestBatchGetRefusals(t *testing.T) {
	s := newSource("cities", "prices")
	large := `{"x":"` + strings.Repeat("y", 900<<10) + `"}`
	s.serve(t, "cities", 3, map[string]string{"a": large, "b": large, "c": large})
	h := newServer(t, s).Handler()
	for body, want := range map[string]string{
		`{"keys":[]}`:                           "400 no-keys",
		`{}`:                                    "400 no-keys",
		`{"kyes":["a"]}`:                        "400 bad-json",
		`["a"]`:                                 "400 bad-json",
		`{"keys":["a"],"keys":["b"]}`:           "400 bad-json",
		`{"KEYS":["a"]}`:                        "400 bad-json",
		`{"keys":["\ud800"]}`:                   "400 bad-json",
		"{\"keys\":[\"\xff\"]}":                 "400 bad-json",
		`{"keys":["a"]} {}`:                     "400 bad-json",
		`{"keys":["a"`:                          "400 bad-json",
		`{"keys":["a",""]}`:                     "400 bad-key",
		`{"keys":["1","2","3","4","5","6"]}`:    "413 too-many-keys",
		`{"keys":["a","b","c"]}`:                "413 too-large",
		strings.Repeat(" ", 1<<20) + `{"keys"}`: "413 too-large",
	} {
		var status int
		var kind string
		if _, err := fmt.Sscanf(want, "%d %s", &status, &kind); err != nil {
			t.Fatal(err)
		}
		wantProblem(t, send(h, "POST", batch, body), status, kind)
	}
	wantProblem(t, send(h, "POST", "/v1/datasets/other/records:batchGet", `{"keys":["a"]}`), 404, "unknown-dataset")
	wantProblem(t, send(h, "POST", "/v1/datasets/prices/records:batchGet", `{"keys":["a"]}`), 503, "no-version-yet")
	wantProblem(t, send(h, "GET", batch, ""), 405, "method-not-allowed")
}

// While versions are swapped, every answer is complete and from one version, which its header names.
func TestAnswersAreOfOneVersion(t *testing.T) {
	s := newSource("cities")
	version := func(v int) map[string]string {
		m := make(map[string]string)
		for _, k := range []string{"a", "b", "c"} {
			m[k] = fmt.Sprintf(`{"v":%d}`, v)
		}
		return m
	}
	s.serve(t, "cities", 1, version(1))
	h := newServer(t, s).Handler()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				rec := send(h, "GET", records+"b", "")
				if want := fmt.Sprintf(`{"v":%s}`, rec.Header().Get("Freshet-Version")); rec.Body.String() != want {
					t.Errorf("got %s, want %s", rec.Body, want)
				}
				rec = send(h, "POST", batch, `{"keys":["a","b","c"]}`)
				if n := strings.Count(rec.Body.String(), fmt.Sprintf(`"value":{"v":%s}`, rec.Header().Get("Freshet-Version"))); n != 3 {
					t.Errorf("%s", rec.Body)
				}
			}
		})
	}
	for v := 2; v < 40; v++ {
		s.serve(t, "cities", uint64(v), version(v))
	}
	close(stop)
	readers.Wait()
}

// A refusal of a batch reaches a client that has stopped sending, and such a client does not delay a stop.
func TestRefusedBatchThatStalls(t *testing.T) {
	requests := make(map[string]int)
	for _, length := range []string{"Content-Length: 200000\r\n", "Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 1000\r\nConnection: close\r\n"} {
		requests["POST /v1/datasets/none/records:batchGet HTTP/1.1\r\nHost: x\r\n"+length+"\r\n"] = http.StatusNotFound
		requests["PUT /v1/datasets/cities/records:batchGet HTTP/1.1\r\nHost: x\r\n"+length+"\r\n"] = http.StatusMethodNotAllowed
		requests["GET /v1/datasets/none/records/a//b HTTP/1.1\r\nHost: x\r\n"+length+"\r\n"] = http.StatusNotFound
		requests["GET /readyz?verbos HTTP/1.1\r\nHost: x\r\n"+length+"\r\n"] = http.StatusBadRequest
	}
	webtest.Refused(t, newServer(t, newSource("cities")).Handler(), requests)
}
