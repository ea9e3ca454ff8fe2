package fleet_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/fleet"
	"github.com/google/go-cmp/cmp"
)

// Invariant: for every limit the encoded status fits, and omitted datasets are not in a more severe state than the others.
func TestEncodeWithinBounds(t *testing.T) {
	whole := fleet.Status{Instance: "a", Host: "h", PID: 7, Relays: []fleet.RelayStatus{{Relay: "http://r", Standing: fleet.Failed, Error: strings.Repeat("ö", 1000)}}}
	for i := range 500 {
		d := serving(fmt.Sprintf("d%03d", i), uint64(i+1))
		d.State = fleet.States[i%len(fleet.States)]
		d.Error = strings.Repeat("é", 500)
		whole.Datasets = append(whole.Datasets, d)
	}
	last := -1
	for _, most := range []int{1 << 20, 400_000, 200_000, 64 << 10, 8 << 10, 1 << 10, 200} {
		data, err := whole.Encode(most)
		if err != nil || len(data) > most {
			t.Fatalf("%d bytes for %d, %v", len(data), most, err)
		}
		var s fleet.Status
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		if most == 1<<20 {
			if diff := cmp.Diff(whole, s); diff != "" {
				t.Error(diff)
			}
		}
		if s.Omitted+len(s.Datasets) != len(whole.Datasets) || s.Omitted < last || s.Instance != "a" || s.PID != 7 {
			t.Errorf("within %d bytes there are %d datasets and %d omitted, of %d on %s", most, len(s.Datasets), s.Omitted, s.PID, s.Instance)
		}
		last = s.Omitted
		counts := map[fleet.State]int{}
		for _, d := range s.Datasets {
			counts[d.State]++
		}
		for i, state := range fleet.States[1:] {
			if graver := fleet.States[i]; s.Omitted > 0 && counts[state] > 0 && counts[graver] < len(whole.Datasets)/len(fleet.States) {
				t.Errorf("within %d bytes there are %d that are %s, and but %d that are %s", most, counts[state], state, counts[graver], graver)
			}
		}
	}
	if last < 490 {
		t.Errorf("200 bytes hold %d datasets", 500-last)
	}
	if data, err := whole.Encode(10); err == nil {
		t.Errorf("10 bytes hold %s", data)
	}
	if whole.Relays[0].Error != strings.Repeat("ö", 1000) || whole.Datasets[0].Dataset != "d000" || len(whole.Datasets[0].Error) != 1000 {
		t.Error("the status was changed")
	}
}

// Invariant: labels are never dropped, because instances are chosen by them. The longest labels leave room for datasets in a record
// in Redis and in a message.
func TestEncodeKeepsLabels(t *testing.T) {
	whole := fleet.Status{Instance: "a", Labels: map[string]string{}}
	for i := range fleet.MaxLabels {
		whole.Labels[fmt.Sprintf("%063d", i)] = strings.Repeat("v", fleet.MaxLabelBytes)
	}
	if err := fleet.CheckLabels(whole.Labels); err != nil {
		t.Fatal(err)
	}
	for i := range 4000 {
		whole.Datasets = append(whole.Datasets, serving(fmt.Sprintf("d%04d", i), 1))
	}
	for most, least := range map[int]int{1 << 20: 1000, 64 << 10: 50, 2300: 0} {
		data, err := whole.Encode(most)
		if err != nil || len(data) > most {
			t.Fatalf("%d bytes for %d, %v", len(data), most, err)
		}
		var s fleet.Status
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole.Labels, s.Labels); diff != "" || len(s.Datasets) < least {
			t.Errorf("within %d bytes there are %d datasets, want at least %d: %s", most, len(s.Datasets), least, diff)
		}
	}
	if data, err := whole.Encode(1000); err == nil {
		t.Errorf("1000 bytes hold %s", data)
	}
}
