package show

import (
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
)

func TestTableAligns(t *testing.T) {
	var b strings.Builder
	columns := []Column{{Title: "dataset"}, {Title: "records", Align: Right}, {Title: "state"}}
	rows := [][]string{
		{"browser-compat", Count(5925), "fresh"},
		{"größe", Count(1234567), ""},
		{"x"},
		{"y", "", "two\nlines\r\n\tmore"},
	}
	if err := Table(&b, columns, rows); err != nil {
		t.Fatal(err)
	}
	want := `dataset           records  state
browser-compat      5,925  fresh
größe           1,234,567
x
y                          two lines   more
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestQuantities(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{Count(0), "0"},
		{Count(5925), "5,925"},
		{Count(1 << 63), "9223372036854775808"},
		{Records(1), "1 record"},
		{Records(5925), "5,925 records"},
		{Bytes(0), "0 B"},
		{Bytes(145 << 10), "145 KiB"},
		{Bytes(-2048), "-2.0 KiB"},
		{Millis(1234567 * time.Nanosecond), "1.2"},
		{Ago(now, now.Add(-90*time.Second)), "1m30s"},
		{Ago(now, now.Add(time.Second)), "0s"},
		{Ago(now, time.Time{}), ""},
		{Seconds(89.6), "1m30s"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestVersions(t *testing.T) {
	whole := dataset.VersionRecord{Version: 7, Snapshot: dataset.Object{Version: 7, Bytes: 4096}}
	patched := dataset.VersionRecord{
		Version: 9, Snapshot: dataset.Object{Version: 7, Bytes: 4096},
		Deltas: []dataset.Object{{Version: 7, Bytes: 100}, {Version: 8, Bytes: 200}, {Version: 9, Bytes: 300}},
	}
	for _, c := range []struct{ got, want string }{
		{Delta(whole), "-"},
		{Delta(patched), "300 B"},
		{Count(Chain(whole)), "0"},
		{Count(Chain(patched)), "2"},
		{MadeFrom(true, 0), "snapshot"},
		{MadeFrom(true, 1), "snapshot + 1 delta"},
		{MadeFrom(false, 0), "kept table"},
		{MadeFrom(false, 1), "1 delta"},
		{MadeFrom(false, 32), "32 deltas"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestPromise(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "-", time.Hour: "1h", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 20 * time.Second: "20s",
		time.Hour + 20*time.Second: "1h0m20s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := Promise(dataset.VersionRecord{ExpectEvery: d}); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}
