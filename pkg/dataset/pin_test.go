package dataset_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

func TestPinOfAnInstance(t *testing.T) {
	id := dataset.VersionID{1}
	every := dataset.Pin{Version: 1, ID: id, Entry: 1}
	canary := dataset.Pin{Version: 2, ID: id, Entry: 2, Labels: map[string]string{"tier": "canary"}}
	named := dataset.Pin{Version: 3, ID: id, Entry: 3, Instances: []string{"api-1", "api-2"}}
	both := dataset.Pin{Version: 4, ID: id, Entry: 4, Labels: map[string]string{"tier": "canary", "zone": "a"}}
	pins := dataset.Pins{Pins: []dataset.Pin{every, canary, named, both}}
	for _, tc := range []struct {
		instance string
		labels   map[string]string
		want     uint64
	}{
		{"api-3", nil, 1},
		{"api-3", map[string]string{"tier": "canary"}, 2},
		{"api-3", map[string]string{"tier": "stable"}, 1},
		{"api-1", map[string]string{"tier": "canary"}, 3},
		{"api-1", map[string]string{"tier": "canary", "zone": "a"}, 4},
	} {
		if pin, ok := pins.For(tc.instance, tc.labels); !ok || pin.Version != tc.want {
			t.Errorf("%s with %v is pinned to version %d, %v; want %d", tc.instance, tc.labels, pin.Version, ok, tc.want)
		}
	}
	if _, ok := (dataset.Pins{Pins: []dataset.Pin{named}}).For("api-3", nil); ok {
		t.Error("a pin of other instances holds")
	}
	for pin, want := range map[*dataset.Pin]string{&every: "all instances", &canary: "instances with tier=canary", &named: "instances api-1, api-2", &both: "instances with tier=canary,zone=a"} {
		if got := pin.Chosen(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	same := dataset.Pin{Instances: []string{"api-2", "api-1", "api-1"}}
	if !named.SameInstances(same) || named.SameInstances(every) || canary.SameInstances(both) || !every.SameInstances(dataset.Pin{}) {
		t.Error("SameInstances is wrong")
	}
}

func TestDecodePins(t *testing.T) {
	pin := dataset.Pin{Version: 1, ID: dataset.VersionID{1}, Entry: 1}
	whole := dataset.Pins{StoreID: dataset.StoreID{1}, Dataset: "prices", Journal: 2, Entry: 1, Pins: []dataset.Pin{pin}}
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	got, err := dataset.DecodePins([]byte(strings.Replace(string(text), "{", `{"later":{"a":1},`, 1)), "prices")
	if err != nil || !got.SameEntry(whole) || got.Journal != 2 || len(got.Pins) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	lacking := whole
	lacking.Pins = []dataset.Pin{{Version: 1}}
	lackingText, err := json.Marshal(lacking)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no JSON": "{", "of another dataset": strings.Replace(string(text), "prices", "cities", 1), "no id": string(lackingText),
		"a version with another id": strings.Replace(string(text), `"pins"`, `"versions":[{"dataset":"prices","version":1}],"pins"`, 1),
	} {
		if _, err := dataset.DecodePins([]byte(text), "prices"); !errors.Is(err, dataset.ErrPins) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPinChangeOfAnEntry(t *testing.T) {
	e := dataset.Entry{StoreID: dataset.StoreID{1}, Dataset: "prices", Number: 4, Kind: dataset.EntrySettings, Content: json.RawMessage(`{}`)}
	if _, err := e.PinChange(); !errors.Is(err, dataset.ErrEntry) {
		t.Errorf("of another kind: %v", err)
	}
	e.Kind, e.Content = dataset.EntryUnpin, json.RawMessage(`{"pins":[]}`)
	if pins, err := dataset.PinsOf(e); err != nil || pins.Entry != 4 || pins.Sum != e.Sum() || len(pins.Pins) != 0 {
		t.Errorf("%+v, %v", pins, err)
	}
	e.Content = json.RawMessage(`{"pins":7}`)
	if _, err := dataset.PinsOf(e); !errors.Is(err, dataset.ErrEntry) {
		t.Errorf("unreadable: %v", err)
	}
}
