package cli

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/overview"
)

// answering starts an instance, named straggler, that answers surveys with the status. stop ends it.
func (f freshet) answering(t *testing.T, status fleet.Status) (stop func()) {
	t.Helper()
	conn, err := nats.Connect(f.at.NATS)
	if err != nil {
		t.Fatal(err)
	}
	status.Instance = "straggler"
	ctx, cancel := context.WithCancel(t.Context())
	responder := fleet.NewResponder(conn, "", func() fleet.Status { return status })
	ended := make(chan error, 1)
	go func() { ended <- responder.Run(ctx) }()
	f.until(t, exit.OK, []string{"straggler"}, "status")
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

// An instance of a release that reports no ids counts only with a version that the store can have. An instance of another store is
// named with that store.
func TestWaitComparesIDs(t *testing.T) {
	f := start(t, "prices")
	path := file(t, "p.ndjson", oldPrices)
	publish := []string{"publish", "prices", path, "--key", "sku", "--wait", "--wait-timeout", "1500ms"}
	f.run(t, publish...).want(t, exit.OK, "stdout:prices version 1")
	var list []dataset.VersionRecord
	if r := f.run(t, "versions", "prices", "-o", "json"); json.Unmarshal([]byte(r.out), &list) != nil || len(list) != 1 {
		t.Fatalf("versions prints %+v", r)
	}
	at := list[0].Created
	status := func(version uint64, created time.Time) fleet.Status {
		return fleet.Status{Datasets: []fleet.DatasetStatus{{Dataset: "prices", Version: version, State: fleet.Fresh, Created: created}}}
	}
	foreign := status(9, at)
	foreign.Store, foreign.Datasets[0].ID = dataset.StoreID{1}, dataset.VersionID{2}
	for name, c := range map[string]struct {
		status fleet.Status
		want   string // empty if the instance serves the version
	}{
		"the same number":                 {status: status(1, at)},
		"the same number, no time":        {status: status(1, time.Time{})},
		"the same number, another time":   {status: status(1, at.Add(time.Second)), want: "stderr:straggler (fresh, serves 1, reports no id, "},
		"a number above the store's":      {status: status(5, at.Add(time.Second)), want: "stderr:straggler (fresh, serves 5, reports no id, "},
		"of another store, while waiting": {status: foreign, want: "stderr:warning: straggler does not serve version 1 yet: it reads another store (" + foreign.Store.String() + ")"},
		"of another store": {
			status: foreign,
			want:   "stderr:straggler (fresh, serves 9 (" + foreign.Datasets[0].ID.Short() + "), reads another store (" + foreign.Store.String() + "))",
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer f.answering(t, c.status)()
			if c.want == "" {
				f.run(t, publish...).want(t, exit.OK, "stdout:straggler serves version 1")
				return
			}
			f.run(t, publish...).want(t, exit.TimedOut, "stdout:up-1 serves", "stdout:!straggler", c.want)
		})
	}
}

// A later version of the store counts, also from an instance of a release that reports no ids.
func TestWaitCountsLaterVersionsOfTheStore(t *testing.T) {
	rec := dataset.VersionRecord{Dataset: "prices", Version: 1, StoreID: dataset.StoreID{1}, Created: time.Now()}
	w := wait{record: func(_ context.Context, _ string, version uint64) (dataset.VersionRecord, error) {
		if version != rec.Version {
			return dataset.VersionRecord{}, errors.New("there is no such version")
		}
		return rec, nil
	}}
	for _, c := range []struct {
		report fleet.Report
		want   bool
	}{
		{fleet.Report{Dataset: "prices", Version: 1, ID: rec.VersionID()}, true},
		{fleet.Report{Dataset: "prices", Version: 1, ID: dataset.VersionID{1}, Created: rec.Created}, false},
		{fleet.Report{Dataset: "prices", Version: 1, Created: rec.Created}, true},
		{fleet.Report{Dataset: "prices", Version: 1}, true},
		{fleet.Report{Dataset: "prices", Version: 1, Created: rec.Created.Add(1)}, false},
		{fleet.Report{Dataset: "prices", Version: 2, Created: rec.Created}, false},
	} {
		if got := w.committed(t.Context(), c.report); got != c.want {
			t.Errorf("version %d, id %s, created %s: %v", c.report.Version, c.report.ID, c.report.Created, got)
		}
	}
}

// An instance with a record in Redis that does not answer over NATS is waited for.
func TestWaitForSilentInstances(t *testing.T) {
	f := start(t, "prices")
	publish := []string{"publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait", "--wait-timeout", "1500ms"}
	f.records(t, of("hung", "prices", 0, fleet.Waiting))
	f.records(t, of("other", "rules", 0, fleet.Waiting)) // does not have the dataset
	f.run(t, publish...).want(t, exit.TimedOut, "stdout:prices version 1", "stdout:up-1 serves", "stdout:up-2 serves",
		"stderr:warning: hung has a record in Redis and does not answer over NATS; waiting for it\n",
		"stderr:version 1 is published, but after 1.5s: instances with a record in Redis do not answer over NATS: hung:", "!other", "stdout:!every live")
	f.run(t, append(publish, "--redis", "")...).want(t, exit.OK, "stdout:every live instance (2) serves version 1", "!hung")
	f.without("FRESHET_REDIS_URL", "redis").run(t, publish...).want(t, exit.OK, "stderr:warning: cannot read the instances' records in Redis",
		"stderr:waiting only for instances that answer over NATS\n", "stdout:every live instance that answers (2) serves version 1", "!hunter2")

	// The record of an instance proves that the instance serves the version.
	f.records(t, of("hung", "prices", 1, fleet.Fresh))
	f.run(t, publish...).want(t, exit.OK, "stdout:hung serves version 1", "stdout:every live instance (3) serves version 1")
}

// A restarted instance with the name, host and pid of a process that served the version does not count as that process.
func TestWaitDistinguishesRestarts(t *testing.T) {
	s := &waiting{wait: &wait{}, report: &publication{}}
	s.report.Record = dataset.VersionRecord{Dataset: "prices", Version: 2}
	s.serves(fleet.Report{Instance: "api", Host: "h", PID: 1, Run: "first", Dataset: "prices", Version: 2})
	for run, want := range map[string]bool{"first": false, "second": true} {
		r := overview.Record{Status: of("api", "prices", 1, fleet.Fresh)}
		r.Host, r.PID, r.Run = "h", 1, run
		if got := s.lacks(t.Context(), r); got != want {
			t.Errorf("the record of the %s run lacks the version: %v, want %v", run, got, want)
		}
	}
	for _, other := range []fleet.Report{{Instance: "api", Host: "h", PID: 2, Run: "second"}, {Instance: "api", Host: "g", PID: 1, Run: "second"}, {Instance: "web", Host: "h", PID: 1, Run: "second"}} {
		s.serves(other)
	}
	s.serves(fleet.Report{Instance: "api", Host: "h", PID: 1, Run: "second", Dataset: "prices", Version: 2})
	if served := s.report.Served; len(served) != 4 || served[3].Run != "second" {
		t.Errorf("after the restart, the version is served by %v", served)
	}
}
