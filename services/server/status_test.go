package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe/prom"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestReadiness(t *testing.T) {
	s := newSource("cities", "prices")
	h := newServer(t, s).Handler()
	doc := wantProblem(t, send(h, "GET", "/readyz", ""), 503, "not-ready")
	if fmt.Sprint(doc["waiting"]) != "map[cities:waiting prices:waiting]" || doc["detail"] != "no version is served yet of: cities, prices" {
		t.Errorf("%v", doc)
	}
	s.serve(t, "cities", 1, map[string]string{"a": "{}"})
	s.says["prices"] = func(d *fleet.DatasetStatus) { d.State, d.Error = fleet.Failing, "no relay answers" }
	if doc := wantProblem(t, send(h, "GET", "/readyz", ""), 503, "not-ready"); fmt.Sprint(doc["waiting"]) != "map[prices:failing: no relay answers]" {
		t.Errorf("%v", doc)
	}
	s.says["prices"] = func(d *fleet.DatasetStatus) {
		d.State, d.Warning = fleet.Blind, "NATS at nats://n1:4222: connection refused"
	}
	if doc := wantProblem(t, send(h, "GET", "/readyz", ""), 503, "not-ready"); fmt.Sprint(doc["waiting"]) != "map[prices:blind: NATS at nats://n1:4222: connection refused]" {
		t.Errorf("%v", doc)
	}
	delete(s.says, "prices")
	s.serve(t, "prices", 1, map[string]string{"a": "{}"})
	if rec := send(h, "GET", "/readyz", ""); rec.Code != 200 || strings.TrimSpace(rec.Body.String()) != `{"datasets":2,"status":"ready"}` {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "GET", "/healthz", ""); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// Invariant: without FRESHET_READY_MAX_LAG an instance with a version is ready in every state. With it, the instance is not
// ready if it has known a newer version for longer. Being blind makes no instance unready.
func TestReadinessByLag(t *testing.T) {
	s := newSource("cities", "prices")
	for _, name := range s.names {
		s.serve(t, name, 3, map[string]string{"a": "{}"})
	}
	anyLag := newServer(t, s).Handler()
	cfg := config()
	cfg.ReadyMaxLag = time.Minute
	maxLag := newServerWith(t, cfg, s).Handler()
	for _, state := range fleet.States {
		for behind, ready := range map[time.Duration]bool{0: true, 50 * time.Second: true, 70 * time.Second: false, -time.Hour: true} {
			s.says["prices"] = func(d *fleet.DatasetStatus) {
				d.State, d.Newest = state, 3
				if behind != 0 {
					d.Newest, d.BehindSince = 9, time.Now().Add(-behind)
				}
			}
			if rec := send(anyLag, "GET", "/readyz", ""); rec.Code != 200 {
				t.Errorf("%s, behind for %s, any lag: %d %s", state, behind, rec.Code, rec.Body)
			}
			rec := send(maxLag, "GET", "/readyz", "")
			if (rec.Code == 200) != ready {
				t.Errorf("%s, behind for %s: %d %s", state, behind, rec.Code, rec.Body)
			}
			if ready {
				continue
			}
			doc := wantProblem(t, rec, 503, "not-ready")
			if doc["detail"] != "behind for more than 1m0s (FRESHET_READY_MAX_LAG) with: prices" ||
				fmt.Sprint(doc["lagging"]) != "map[prices:version 3 is served, 9 has been known for 1m10s; "+string(state)+"]" {
				t.Errorf("%v", doc)
			}
		}
	}
}

// /readyz?verbose reports all datasets, whether ready or not.
func TestVerboseReadiness(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, map[string]string{"a": "{}"})
	since := time.Now().Add(-time.Minute).UTC()
	s.says["cities"] = func(d *fleet.DatasetStatus) {
		d.State, d.Since, d.Newest, d.AgeSeconds, d.BehindSince, d.Error = fleet.Failing, since, 4, 61.5, since, "no relay answers"
	}
	h := newServer(t, s).Handler()
	type standings struct {
		Datasets map[string]struct {
			State           fleet.State
			Since           time.Time
			Version, Newest uint64
			Age             float64 `json:"age_seconds"`
			Behind          float64 `json:"behind_seconds"`
			Error           string
		}
	}
	for _, code := range []int{503, 200} {
		rec := send(h, "GET", "/readyz?verbose", "")
		var got standings
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != code {
			t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
		}
		c := got.Datasets["cities"]
		if c.State != fleet.Failing || !c.Since.Equal(since) || c.Version != 3 || c.Newest != 4 || c.Age != 61.5 || c.Behind < 60 || c.Error != "no relay answers" {
			t.Errorf("cities is %+v", c)
		}
		if code == 503 && (got.Datasets["prices"].State != fleet.Waiting || got.Datasets["prices"].Version != 0) {
			t.Errorf("prices is %+v", got.Datasets["prices"])
		}
		s.serve(t, "prices", 1, map[string]string{"a": "{}"})
	}
}

func TestStatus(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, map[string]string{"a": "{}", "b": "{}"})
	h := newServer(t, s).Handler()
	var status fleet.Status
	if err := json.Unmarshal(send(h, "GET", "/v1/status", "").Body.Bytes(), &status); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Status(), status); diff != "" {
		t.Error(diff)
	}
	wantProblem(t, send(h, "GET", "/v1/datasets", ""), 404, "no-such-route")
}

func TestStatusMetrics(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, map[string]string{"a": "{}", "b": "{}"})
	s.says["cities"] = func(d *fleet.DatasetStatus) {
		d.State, d.Newest, d.Since, d.AgeSeconds = fleet.Lagging, 5, time.UnixMilli(1767323045500), 61.5
		d.BehindSince, d.Confirmed = time.Now().Add(-10*time.Minute), time.Now().Add(-2*time.Minute)
		d.Refreshes = fleet.Refreshes{Failed: 4, Panicked: 3, Healed: 2}
	}
	srv := newServer(t, s)
	prom.Observer(srv.Registry())
	age := time.Since(started).Seconds()
	metrics := send(srv.Handler(), "GET", "/metrics", "").Body.String()
	for _, want := range []string{
		`freshet_dataset_version{dataset="cities"} 3`, `freshet_dataset_records{dataset="cities"} 2`, `freshet_dataset_version{dataset="prices"} 0`,
		`freshet_dataset_newest_version{dataset="cities"} 5`, `freshet_dataset_state{dataset="prices",state="waiting"} 1`,
		`freshet_dataset_age_seconds{dataset="cities"} 61.5`, `freshet_dataset_state_since_timestamp_seconds{dataset="cities"} 1.7673230455e+09`,
		`freshet_refresh_panics_total{dataset="cities"} 3`, `freshet_healed_versions_total{dataset="cities"} 2`, `freshet_healed_versions_total{dataset="prices"} 0`,
		`freshet_dataset_behind_seconds{dataset="prices"} 0`,
		fmt.Sprintf(`freshet_dataset_resident_bytes{dataset="cities"} %d`, s.table("cities").Bytes()),
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("%s is not in the metrics", want)
		}
	}
	for _, state := range fleet.States {
		want := fmt.Sprintf(`freshet_dataset_state{dataset="cities",state="%s"} %d`, state, map[bool]int{true: 1}[state == fleet.Lagging])
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("%s is not in the metrics", want)
		}
	}
	for prefix, want := range map[string]float64{
		`freshet_dataset_behind_seconds{dataset="cities"} `: 600, `freshet_beacon_age_seconds{dataset="cities"} `: 120,
		`freshet_beacon_age_seconds{dataset="prices"} `: age,
	} {
		_, value, _ := strings.Cut(metrics, prefix)
		var got float64
		if _, err := fmt.Sscan(value, &got); err != nil || got < want || got > want+60 {
			t.Errorf("%s%v, want %v", prefix, got, want)
		}
	}
	if strings.Contains(metrics, `freshet_dataset_age_seconds{dataset="prices"}`) {
		t.Error("a dataset without a version has an age")
	}
	problems, err := testutil.GatherAndLint(srv.Registry())
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Error(err)
	}
}
