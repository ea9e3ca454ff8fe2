package cachedir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
)

func TestPins(t *testing.T) {
	d := New(filepath.Join(t.TempDir(), "cache"))
	defer d.Close()
	if _, err := d.Pins("prices"); !errors.Is(err, ErrNone) {
		t.Fatalf("without a file: %v", err)
	}
	pins := dataset.Pins{
		StoreID: dataset.StoreID{1}, Dataset: "prices", Journal: 7, Entry: 3, Sum: "s",
		Pins: []dataset.Pin{{Version: 2, ID: dataset.VersionID{9}, Labels: map[string]string{"tier": "canary"}, Entry: 3, At: time.Now().UTC(), Reason: "r"}},
	}
	if err := d.SetPins("prices", pins); err != nil {
		t.Fatal(err)
	}
	got, err := d.Pins("prices")
	if err != nil || !got.SameEntry(pins) || len(got.Pins) != 1 || got.Pins[0].Labels["tier"] != "canary" || !got.Pins[0].At.Equal(pins.Pins[0].At) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := d.Clean([]string{"prices"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Pins("prices"); err != nil {
		t.Errorf("a clean of a dataset that is subscribed: %v", err)
	}
	if err := d.Discard("prices"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Pins("prices"); err != nil {
		t.Errorf("a discard of the version: %v", err)
	}
	if err := d.Clean(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Pins("prices"); !errors.Is(err, ErrNone) {
		t.Errorf("a clean of a dataset that is not subscribed: %v", err)
	}
	if left, err := os.ReadDir(d.root); err != nil || len(left) != 1 { // the lock
		t.Errorf("the folder has %v, %v", left, err)
	}
}

// Every flipped bit of the file is found, or changes nothing.
func TestDamagedPins(t *testing.T) {
	d := New(filepath.Join(t.TempDir(), "cache"))
	defer d.Close()
	pins := dataset.Pins{StoreID: dataset.StoreID{1}, Dataset: "prices", Entry: 3, Sum: "s", Pins: []dataset.Pin{{Version: 2, ID: dataset.VersionID{9}, Entry: 3}}}
	if err := d.SetPins("prices", pins); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(d.PinsPath("prices"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		damaged := append([]byte(nil), text...)
		damaged[i] ^= 1 << (i % 8)
		if err := os.WriteFile(d.PinsPath("prices"), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := d.Pins("prices")
		if err == nil && (!got.SameEntry(pins) || got.Pins[0].Ref() != pins.Pins[0].Ref()) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %+v, %v", i, got, err)
		}
	}
}

// A second process reads the pins and does not write them.
func TestPinsOfASharedFolder(t *testing.T) {
	root := filepath.Join(t.TempDir(), "cache")
	first, second := New(root), New(root)
	defer first.Close()
	defer second.Close()
	pins := dataset.Pins{StoreID: dataset.StoreID{1}, Dataset: "prices", Entry: 1, Sum: "s"}
	if err := first.SetPins("prices", pins); err != nil {
		t.Fatal(err)
	}
	if err := second.SetPins("prices", pins); !errors.Is(err, ErrShared) {
		t.Errorf("a second process writes: %v", err)
	}
	if got, err := second.Pins("prices"); err != nil || !got.SameEntry(pins) {
		t.Errorf("%+v, %v", got, err)
	}
}
