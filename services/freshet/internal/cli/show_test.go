package cli

import (
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/overview"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/publisher"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// history returns the versions of a dataset from its first: a snapshot, two deltas, and a version whose snapshot was
// written before it, which its successor names. Newest first.
func history() []dataset.VersionRecord {
	first := dataset.Object{Version: 1, Bytes: 3 << 20}
	later := dataset.Object{Version: 3, Bytes: 3<<20 + 512<<10}
	deltas := []dataset.Object{{Version: 2, Bytes: 1536}, {Version: 3, Bytes: 900 << 10}, {Version: 4, Bytes: 88}}
	record := func(version uint64, records uint64, snapshot dataset.Object, changes dataset.Changes) dataset.VersionRecord {
		return dataset.VersionRecord{
			Dataset: "prices", Version: version, State: dataset.Checksum{Records: records}, Snapshot: snapshot,
			Deltas: deltas[:version-1], Changes: changes, Created: began.Add(time.Duration(version) * time.Minute),
		}
	}
	all := []dataset.VersionRecord{
		record(4, 30_000, later, dataset.Changes{Changed: 1}),
		record(3, 30_000, first, dataset.Changes{Added: 10_000, Changed: 250}),
		record(2, 20_000, first, dataset.Changes{Added: 3, Changed: 12, Removed: 3}),
		record(1, 20_000, first, dataset.Changes{Added: 20_000}),
	}
	all[0].Labels = map[string]string{"run": "4", "by": "hand"}
	all[0].ExpectEvery = 24 * time.Hour
	all[3].Source = "pipeline"
	return all
}

func TestVersionsTable(t *testing.T) {
	var out strings.Builder
	if err := show.Table(&out, versionColumns, versionRows(publisher.VersionList{Versions: history()}, time.UTC)); err != nil {
		t.Fatal(err)
	}
	compare(t, out.String(), `
version  committed            id            records   added  changed  removed    delta  snapshot  chain  promise  source    labels
      4  2026-01-02 03:08:05  29830562c2cf   30,000       0        1        0     88 B         -      1      24h            by=hand run=4
      3  2026-01-02 03:07:05  67dd8b0cb461   30,000  10,000      250        0  900 KiB   3.5 MiB      2        -
      2  2026-01-02 03:06:05  3ef0410540e9   20,000       3       12        3  1.5 KiB         -      1        -
      1  2026-01-02 03:05:05  9306ac2c195d   20,000  20,000        0        0        -   3.0 MiB      0        -  pipeline
`)
}

func TestStatusTable(t *testing.T) {
	newest := history()[0]
	whole := history()[3]
	whole.Dataset = "cities"
	now := began.Add(5 * time.Minute)
	serving := func(version uint64, state fleet.State, from fleet.Origin, pull fleet.Pull) fleet.DatasetStatus {
		return fleet.DatasetStatus{
			Version: version, ID: history()[4-version].VersionID(), Newest: version, Records: 30_000, Bytes: 4 << 20, State: state, From: from,
			Since: began.Add(4*time.Minute + time.Second), Created: began.Add(time.Duration(version) * time.Minute), LastPull: pull,
		}
	}
	failing := serving(3, fleet.Failing, fleet.Cache, fleet.Pull{Full: true, Deltas: 2})
	failing.Error, failing.Newest, failing.BehindSince = "no relay answers", 4, began.Add(4*time.Minute)
	blind := serving(4, fleet.Blind, fleet.Relay, fleet.Pull{Bytes: 88, Deltas: 1})
	blind.Confirmed = began.Add(4 * time.Minute)
	age := 12.3
	instance := func(name string, d fleet.DatasetStatus) overview.Instance {
		return overview.Instance{Instance: name, DatasetStatus: d}
	}
	silent := instance("api-7", serving(3, fleet.Fresh, fleet.Relay, fleet.Pull{Bytes: 3 << 20, Full: true}))
	silent.Silent, silent.RecordAge = true, &age
	misled := instance("api-8", serving(4, fleet.Fresh, fleet.Relay, fleet.Pull{Bytes: 88, Deltas: 1}))
	misled.StoreWarning = "messages of store 1f are ignored"
	all := []overview.Dataset{
		{Dataset: "cities", Latest: &whole},
		{Dataset: "prices", Latest: &newest, Instances: []overview.Instance{
			instance("api-1", serving(4, fleet.Fresh, fleet.Relay, fleet.Pull{Bytes: 88, Deltas: 1})),
			instance("api-2", serving(4, fleet.Fresh, fleet.Relay, fleet.Pull{Bytes: 3 << 20, Full: true})),
			instance("api-3", serving(4, fleet.Fresh, fleet.Relay, fleet.Pull{Bytes: 3<<20 + 900<<10, Full: true, Deltas: 1, Fallback: "another state"})),
			instance("api-4", failing),
			instance("api-5", fleet.DatasetStatus{State: fleet.Waiting, Since: began.Add(time.Minute)}),
			instance("api-6", blind),
			silent,
			misled,
		}},
		{Dataset: "rules", Instances: []overview.Instance{instance("api-1", fleet.DatasetStatus{State: fleet.Waiting})}},
	}
	all[1].Instances[0].KeptVersions = 5
	all[1].Instances[0].Labels = map[string]string{"zone": "a", "tier": "canary"}
	all[1].Instances[2].Labels = map[string]string{"zone": "b"}
	var out strings.Builder
	if err := printStatus(&out, overview.Overview{At: now, Datasets: all}, true); err != nil {
		t.Fatal(err)
	}
	compare(t, out.String(), `
dataset  newest   age  records   added  changed  removed  delta              snapshot  id
cities        1  4m0s   20,000  20,000        0        0      -               3.0 MiB  6314b4fc02a2
prices        4  1m0s   30,000       0        1        0   88 B  3.5 MiB of version 3  29830562c2cf
rules         -

dataset  instance  serves  state    since   age  behind  records   memory  kept   pulled  made from            from   id            labels              trouble
cities   (none)
prices   api-1          4  fresh      59s  1m0s           30,000  4.0 MiB     5     88 B  1 delta              relay  29830562c2cf  tier=canary,zone=a
prices   api-2          4  fresh      59s  1m0s           30,000  4.0 MiB     0  3.0 MiB  snapshot             relay  29830562c2cf
prices   api-3          4  fresh      59s  1m0s           30,000  4.0 MiB     0  3.9 MiB  snapshot + 1 delta   relay  29830562c2cf  zone=b              pulled the snapshot instead of deltas: another state
prices   api-4          3  failing    59s  2m0s    1m0s   30,000  4.0 MiB     0      0 B  snapshot + 2 deltas  cache  67dd8b0cb461                      no relay answers
prices   api-5          -  waiting   4m0s                                                                      -
prices   api-6          4  blind      59s  1m0s           30,000  4.0 MiB     0     88 B  1 delta              relay  29830562c2cf                      blind: no beacon has confirmed for 1m0s that version 4 is the newest
prices   api-7          3  silent     12s  2m0s           30,000  4.0 MiB     0  3.0 MiB  snapshot             relay  67dd8b0cb461                      does not answer; was fresh when it wrote its record
prices   api-8          4  fresh      59s  1m0s           30,000  4.0 MiB     0     88 B  1 delta              relay  29830562c2cf                      messages of store 1f are ignored
rules    api-1          -  waiting                                                                             -
`)
	out.Reset()
	if err := printStatus(&out, overview.Overview{At: now, Datasets: all}, false); err != nil {
		t.Fatal(err)
	}
	compare(t, out.String(), `
dataset  newest   age  records   added  changed  removed
cities        1  4m0s   20,000  20,000        0        0
prices        4  1m0s   30,000       0        1        0
rules         -

dataset  instance  serves  state    since  behind   memory
cities   (none)
prices   api-1          4  fresh      59s          4.0 MiB
prices   api-2          4  fresh      59s          4.0 MiB
prices   api-3          4  fresh      59s          4.0 MiB
  pulled the snapshot instead of deltas: another state
prices   api-4          3  failing    59s    1m0s  4.0 MiB
  no relay answers
prices   api-5          -  waiting   4m0s
prices   api-6          4  blind      59s          4.0 MiB
  blind: no beacon has confirmed for 1m0s that version 4 is the newest
prices   api-7          3  silent     12s          4.0 MiB
  does not answer; was fresh when it wrote its record
prices   api-8          4  fresh      59s          4.0 MiB
  messages of store 1f are ignored
rules    api-1          -  waiting
`)
}

// TestStatusFitsTheTerminal has names, numbers and times of the usual lengths.
func TestStatusFitsTheTerminal(t *testing.T) {
	rec := history()[0]
	rec.Dataset, rec.Version, rec.Created = "browser-compat", 123_456, began.Add(-47*time.Hour)
	rec.State.Records, rec.Changes = 100_000_000, dataset.Changes{Added: 100_000_000, Changed: 1_000_000, Removed: 1_000_000}
	i := overview.Instance{Instance: "europe-west-12", DatasetStatus: fleet.DatasetStatus{
		Version: 123_456, ID: rec.VersionID(), Records: 100_000_000, Bytes: 1023 << 20, State: fleet.Quarantined, From: fleet.Relay,
		Since: began.Add(-47 * time.Hour), Created: rec.Created, BehindSince: began.Add(-47*time.Hour - 59*time.Minute),
		Warning: "version 123457 is quarantined",
	}, Labels: map[string]string{"tier": strings.Repeat("x", fleet.MaxLabelBytes)}}
	var out strings.Builder
	o := overview.Overview{At: began, Datasets: []overview.Dataset{{Dataset: rec.Dataset, Latest: &rec, Instances: []overview.Instance{i}}}}
	if err := printStatus(&out, o, false); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := len(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if !strings.Contains(out.String(), "\n  quarantined for 47h0m0s: version 123457 is quarantined\n") {
		t.Errorf("the trouble is not on its own line:\n%s", out.String())
	}
}

// TestStatusShowsWhatWasPulled has two instances that pull a snapshot and then a delta.
func TestStatusShowsWhatWasPulled(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").
		want(t, exit.OK, "stdout:up-1 serves version 1, ", "stdout:pulled (snapshot)")
	f.run(t, "publish", "prices", file(t, "c.ndjson", `{"sku":"A1","price":6}`), "--key", "sku", "--patch", "--wait").
		want(t, exit.OK, "stdout:up-2 serves version 2, ", "stdout:pulled (1 delta)")
	rows := map[string][]string{}
	for rows["up-1"] == nil || rows["up-2"] == nil { // a busy instance may miss a survey
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		clear(rows)
		for line := range strings.Lines(f.run(t, "status", "--wide").out) {
			if cells := strings.Fields(line); len(cells) > 1 {
				rows[cells[1]] = cells
			}
		}
	}
	delta := rows["2"]
	if len(delta) < 9 || strings.Join(delta[4:7], " ") != "0 1 0" || delta[8] != "B" {
		t.Fatalf("the newest version is shown as %q", rows["2"])
	}
	for _, instance := range []string{"up-1", "up-2"} {
		cells := rows[instance]
		if len(cells) != 16 || cells[2] != "2" || strings.Join(cells[10:15], " ") != delta[7]+" B 1 delta relay" {
			t.Errorf("%s is shown as %q, the delta has %s B", instance, cells, delta[7])
		}
	}
}

// compare fails the test unless the tables are equal. want begins with a line end.
func compare(t *testing.T, got, want string) {
	t.Helper()
	if got = "\n" + got; got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}
