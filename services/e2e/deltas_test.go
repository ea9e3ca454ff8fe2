package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// fleetStatus is a dataset in the output of `freshet status --output json`.
type fleetStatus struct {
	Latest    dataset.VersionRecord
	Instances []struct {
		Instance string
		fleet.DatasetStatus
	}
}

// freshet runs the command line and returns its output.
func (s *system) freshet(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "freshet"), args...)
	cmd.Env = append(cmd.Environ(), "FRESHET_PUBLISHER_URL="+s.Publisher.URL, "FRESHET_NATS_URL="+s.NATS.URL, "FRESHET_SERVER_URL="+s.Instances[0].URL,
		"FRESHET_REDIS_URL="+s.Redis.URL, "FRESHET_NAMESPACE="+s.namespace)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("freshet %q: %w\n%s%s", args, err, out, stderr.String())
	}
	return string(out), err
}

// status returns the status of the dataset when all instances have answered in time. On a busy machine an instance may miss a survey.
func (s *system) status(t *testing.T, name string) fleetStatus {
	t.Helper()
	var all []fleetStatus
	eventually(t, func(ctx context.Context) error {
		text, err := s.freshet(ctx, "status", name, "--output", "json")
		if err != nil {
			return err
		}
		all = nil
		if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 1 || len(all[0].Instances) != len(s.Instances) {
			return fmt.Errorf("status prints %s; want the %d instances of one dataset: %v", text, len(s.Instances), err)
		}
		return nil
	})
	return all[0]
}

// Invariant: once an instance serves a version, each further one costs it the delta and nothing else, whether all
// records were published or a patch; it then serves every record byte for byte; and the status, the list of versions and
// the metrics say what it cost.
func TestInstancesPullDeltasAlone(t *testing.T) {
	const name = "cities"
	s := newSystem(t, "", 2, name)
	var before, want map[string]string
	var snapshot int64 // bytes of the first version's
	var pulled []int64 // by version, from 1
	all := shipped(t)[:4]
	if !testing.Short() {
		all = cities(t)
	}
	for i, e := range all {
		before, want = want, e.records(t)
		rec := s.post(t, name, e)
		cost := s.expectRefresh(t, name, rec)
		pulled = append(pulled, cost)
		if i == 0 {
			snapshot = rec.Snapshot.Bytes
			continue
		}
		if cost*5 > snapshot {
			t.Errorf("version %d (%s): each instance pulled %d bytes, where the snapshot has %d", rec.Version, e.name, cost, snapshot)
		}
		s.checkChanged(t, name, rec.Version, before, want)
		t.Logf("version %d (%s): %d records changed, each instance pulled %d bytes, %.1f %% of the snapshot", rec.Version, e.name,
			rec.Changes.Total(), cost, 100*float64(cost)/float64(snapshot))
	}

	before, want = want, maps.Clone(want)
	body := patchOf(want)
	status, header, answer, err := do(t.Context(), http.MethodPatch, s.Publisher.URL+"/v1/datasets/"+name+"?key=key&base="+strconv.Itoa(len(pulled)),
		"application/x-ndjson", []byte(body))
	if err != nil || status != http.StatusCreated {
		t.Fatalf("patch: %d %s %v", status, answer, err)
	}
	var patched struct {
		Record dataset.VersionRecord `json:"version_record"`
		Patch  struct{ Added, Changed, Removed, Unchanged, Missing uint64 }
	}
	if err := json.Unmarshal(answer, &patched); err != nil || patched.Record.Version != uint64(len(pulled)+1) {
		t.Fatalf("patch: %v in %s; Location %s", err, answer, header.Get("Location"))
	}
	if p := patched.Patch; p.Added != 1 || p.Changed != 1 || p.Removed != 1 || p.Unchanged != 1 || p.Missing != 1 {
		t.Errorf("the patch is said to have done %+v", p)
	}
	cost := s.expectRefresh(t, name, patched.Record)
	if cost > 2048 {
		t.Errorf("a patch of three records made each instance pull %d bytes", cost)
	}
	pulled = append(pulled, cost)
	s.checkChanged(t, name, patched.Record.Version, before, want)
	for _, instance := range s.Instances {
		checkAll(t, instance, name, patched.Record.Version, want, before)
		s.checkMetrics(t, instance, name, pulled)
	}

	for command, want := range map[string]struct {
		row   string
		times int
	}{
		"status --wide": {fmt.Sprintf(" %d B 1 delta relay", cost), len(s.Instances)},
		"versions":      {fmt.Sprintf(" 1 1 1 %d B - %d ", cost, len(pulled)-1), 1},
	} {
		eventually(t, func(ctx context.Context) error {
			text, err := s.freshet(ctx, append(strings.Fields(command), name)...)
			if err == nil && strings.Count(words(text), want.row) != want.times {
				err = fmt.Errorf("%s does not show %q %d times:\n%s", command, want.row, want.times, text)
			}
			return err
		})
	}
	status, _, answer, err = do(t.Context(), http.MethodPatch, s.Publisher.URL+"/v1/datasets/"+name+"?key=key&base=1", "application/x-ndjson", []byte(body))
	if err != nil || status != http.StatusConflict {
		t.Errorf("a patch of an old version: %d %s %v", status, answer, err)
	}
}

// words returns text with one space between its words, as tables have any number.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// patchOf returns a patch that adds, changes and removes one record each, sends one unchanged record and removes a missing one. It makes
// the same changes to records.
func patchOf(records map[string]string) string {
	keys := slices.Sorted(maps.Keys(records))
	changed, removed, same := keys[0], keys[len(keys)/2], keys[len(keys)-1]
	value := func(key string) string { return fmt.Sprintf(`{"key":%q,"name":"Ørsted  1"}`, key) }
	lines := []string{
		value(changed), value("zz/new"), records[same],
		fmt.Sprintf(`{"key":%q,"$remove":true}`, removed), `{"key":"no such key","$remove":true}`,
	}
	records[changed], records["zz/new"] = lines[0], lines[1]
	delete(records, removed)
	return strings.Join(lines, "\n")
}

// expectRefresh waits until every instance serves the version, and returns the bytes that each pulled: the snapshot for the first
// version, else only its delta.
func (s *system) expectRefresh(t *testing.T, name string, rec dataset.VersionRecord) int64 {
	t.Helper()
	for _, instance := range s.Instances {
		awaitVersion(t, instance, name, rec.Version)
	}
	want := fleet.Pull{Full: true, Bytes: rec.Snapshot.Bytes}
	counted := fleet.Refreshes{Full: 1, Delta: rec.Version - 1}
	if n := len(rec.Deltas); n > 0 {
		want = fleet.Pull{Deltas: 1, Bytes: rec.Deltas[n-1].Bytes}
	}
	status := s.status(t, name)
	if status.Latest.Version != rec.Version || status.Latest.Changes != rec.Changes {
		t.Errorf("status says that the newest version is %+v, want %+v", status.Latest, rec)
	}
	for _, i := range status.Instances {
		got := i.LastPull
		got.Duration = 0
		if got != want || i.State != fleet.Fresh || i.From != fleet.Relay || uint64(i.Records) != rec.State.Records {
			t.Errorf("%s says %+v; want that it pulled %+v for version %d", i.Instance, i.DatasetStatus, want, rec.Version)
		}
		if i.Refreshes.Full != counted.Full || i.Refreshes.Delta != counted.Delta || i.Refreshes.Fallbacks != 0 {
			t.Errorf("%s counts %+v, want %+v", i.Instance, i.Refreshes, counted)
		}
	}
	return want.Bytes
}

// checkChanged compares the records that differ between before and want at every instance.
func (s *system) checkChanged(t *testing.T, name string, version uint64, before, want map[string]string) {
	t.Helper()
	gone, is := map[string]string{}, map[string]string{}
	for key, value := range before {
		if want[key] != value {
			gone[key] = value
		}
	}
	for key, value := range want {
		if before[key] != value {
			is[key] = value
		}
	}
	for _, instance := range s.Instances {
		checkAll(t, instance, name, version, is, gone)
	}
}

// checkMetrics compares the metrics of an instance with the costs of all versions from 1 on.
func (s *system) checkMetrics(t *testing.T, instance *program, name string, pulled []int64) {
	t.Helper()
	_, _, body, err := do(t.Context(), http.MethodGet, instance.URL+"/metrics", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var deltas int64
	for _, n := range pulled[1:] {
		deltas += n
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		if metric, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok {
			if n, err := strconv.ParseFloat(value, 64); err == nil {
				values[metric+"}"] = n
			}
		}
	}
	of := `{dataset="` + name + `",`
	for metric, want := range map[string]int64{
		"freshet_refreshes_total" + of + `from="relay",kind="full"}`:  1,
		"freshet_refreshes_total" + of + `from="relay",kind="delta"}`: int64(len(pulled) - 1),
		"freshet_pulled_bytes_total" + of + `kind="full"}`:            pulled[0],
		"freshet_pulled_bytes_total" + of + `kind="delta"}`:           deltas,
		"freshet_refresh_seconds_count" + of + `kind="delta"}`:        int64(len(pulled) - 1),
		`freshet_deltas_applied_total{dataset="` + name + `"}`:        int64(len(pulled) - 1),
		`freshet_deltas_given_up_total{dataset="` + name + `"}`:       0,
		`freshet_dataset_version{dataset="` + name + `"}`:             int64(len(pulled)),
		`freshet_dataset_state{dataset="` + name + `",state="fresh"}`: 1,
		`freshet_refresh_failures_total{dataset="` + name + `"}`:      0,
	} {
		if got, ok := values[metric]; !ok || got != float64(want) {
			t.Errorf("%s: %s is %v (there: %t), want %d", instance.URL, metric, got, ok, want)
		}
	}
}
