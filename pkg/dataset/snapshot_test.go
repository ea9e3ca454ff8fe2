package dataset_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/google/go-cmp/cmp"
)

func TestSnapshotRecord(t *testing.T) {
	good := dataset.SnapshotRecord{
		Dataset: "prices", Object: dataset.Object{Version: 7, Digest: dataset.Digest{1, 2}, Bytes: 9},
		State: dataset.Checksum{Records: 3, Hi: 1 << 63, Lo: 5}, Created: time.Unix(1_700_000_000, 123).UTC(),
	}
	b, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"dataset":"prices","object":{"version":7,"digest":"0102` + strings.Repeat("0", 60) + `","bytes":9},` +
		`"state":"3-80000000000000000000000000000005","created":"2023-11-14T22:13:20.000000123Z"}`
	if string(b) != want {
		t.Errorf("it is written\n%s\nwant\n%s", b, want)
	}
	got, err := dataset.DecodeSnapshotRecord(b)
	if diff := cmp.Diff(good, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if good.ID() != "prices/7" {
		t.Error(good.ID())
	}
	for name, damage := range map[string]func(*dataset.SnapshotRecord){
		"dataset": func(r *dataset.SnapshotRecord) { r.Dataset = "Prices" },
		"version": func(r *dataset.SnapshotRecord) { r.Object.Version = 0 },
		"digest":  func(r *dataset.SnapshotRecord) { r.Object.Digest = dataset.Digest{} },
		"bytes":   func(r *dataset.SnapshotRecord) { r.Object.Bytes = 0 },
		"created": func(r *dataset.SnapshotRecord) { r.Created = time.Time{} },
	} {
		bad := good
		damage(&bad)
		if _, err := bad.Encode(); !errors.Is(err, dataset.ErrSnapshotRecord) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	for _, text := range []string{"", "{}", "[]", strings.Replace(want, `"bytes":9`, `"bytes":-9`, 1)} {
		if _, err := dataset.DecodeSnapshotRecord([]byte(text)); !errors.Is(err, dataset.ErrSnapshotRecord) {
			t.Errorf("%q: error is %v", text, err)
		}
	}
}
