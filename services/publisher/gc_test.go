package publisher_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/keep"
	"freshet.dev/services/publisher"
)

// old makes all files of the store four seconds older.
func old(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		at := info.ModTime().Add(-4 * time.Second)
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGC(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	for i := range 3 {
		body := ""
		for k := range 20 {
			body += fmt.Sprintf("{\"id\":\"%d\",\"v\":%d}\n", k, 100*i+k)
		}
		if rec := send(h, "POST", versions+"?key=id", body); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	if rec := send(h, "PATCH", settingsPath, `{"settings":{"keep_versions":1,"keep_for":"0s"},"reason":"a test"}`); rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	run := func(path string) keep.Report {
		t.Helper()
		rec := send(h, "POST", path, "", "Freshet-By", "ann@host")
		if rec.Code != 200 {
			t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
		}
		return decode[keep.Report](t, rec)
	}
	folder := strings.TrimPrefix(s.String(), "dir://")
	old(t, folder)
	dry := run("/v1/datasets/prices/gc?dry_run=true")
	if d := dry.Datasets[0]; !dry.DryRun || !d.RetentionSet || d.Free.String() != "1 to 2" || dry.Unneeded.Objects == 0 || dry.Grace != keep.DefaultGrace {
		t.Errorf("the dry run says %+v", dry)
	}
	if r := run("/v1/gc?grace=2s"); r.Marked != dry.Unneeded || r.Removed.Objects != 0 {
		t.Errorf("the first run says %+v", r)
	}
	old(t, folder+"/gc")
	if r := run("/v1/datasets/prices/gc?grace=2s&reason=make+room"); r.Removed != dry.Unneeded || r.Datasets[0].GoneNow.String() != "1 to 2" {
		t.Errorf("the second run says %+v", r)
	}
	list := decode[publisher.VersionList](t, send(h, "GET", versions+"?limit=2", ""))
	if list.Gone.String() != "2" {
		t.Errorf("of the last two versions %s are gone", list.Gone)
	}
	var gone dataset.Entry
	for from := uint64(1); ; from++ {
		e, err := s.Entry(t.Context(), "prices", from)
		if err != nil {
			break
		}
		gone = e
	}
	if gone.Kind != dataset.EntryGC || gone.By != "ann@host" || gone.Reason != "make room" {
		t.Errorf("the last entry is %+v", gone)
	}
	wantProblem(t, send(h, "GET", "/v1/datasets/prices/records/1?version=1", ""), 410, "gone")
	wantProblem(t, send(h, "POST", "/v1/datasets/prices/rollback?to=2&reason=x", ""), 410, "gone")
	wantProblem(t, send(h, "POST", pinsPath, `{"version":"2","all":true,"reason":"x"}`), 410, "gone")
	var all struct{ Datasets []publisher.Dataset }
	if err := json.Unmarshal(send(h, "GET", "/v1/datasets", "").Body.Bytes(), &all); err != nil || len(all.Datasets) != 1 || !*all.Datasets[0].RetentionSet {
		t.Errorf("the datasets are %+v, %v", all, err)
	}
	for path, want := range map[string]string{
		"/v1/gc?grace=1s":          "400 bad-parameter",
		"/v1/gc?grace=0":           "400 bad-parameter",
		"/v1/gc?grace=often":       "400 bad-parameter",
		"/v1/gc?dry-run=true":      "400 bad-parameter",
		"/v1/datasets/pricse/gc":   "404 unknown-dataset",
		"/v1/datasets/Prices/gc":   "400 bad-dataset-name",
		"/v1/gc?reason=two%0Aline": "400 bad-parameter",
	} {
		var status int
		var kind string
		if _, err := fmt.Sscan(want, &status, &kind); err != nil {
			t.Fatal(err)
		}
		wantProblem(t, send(h, "POST", path, ""), status, kind)
	}
	if text := send(h, "GET", "/metrics", "").Body.String(); !strings.Contains(text, "freshet_publisher_gc_removed_objects_total 3") ||
		!strings.Contains(text, `freshet_publisher_gc_runs_total{result="done"} 2`) {
		for line := range strings.Lines(text) {
			if strings.Contains(line, "_gc_") {
				t.Log(line)
			}
		}
		t.Error("the metrics do not count the runs")
	}
}
