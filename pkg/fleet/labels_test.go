package fleet_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/fleet"
	"github.com/google/go-cmp/cmp"
)

func TestLabels(t *testing.T) {
	labels, err := fleet.ParseLabels([]string{"zone=a", "tier=canary", "build=1.2_3-x", strings.Repeat("n", 63) + "=" + strings.Repeat("v", 63)})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"zone": "a", "tier": "canary", "build": "1.2_3-x", strings.Repeat("n", 63): strings.Repeat("v", 63)}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Error(diff)
	}
	if text := fleet.FormatLabels(map[string]string{"zone": "a", "tier": "canary"}); text != "tier=canary,zone=a" {
		t.Errorf("the text is %s", text)
	}
	if labels, err := fleet.ParseLabels(nil); labels != nil || err != nil || fleet.FormatLabels(labels) != "" {
		t.Errorf("no pairs are %v, %v", labels, err)
	}
}

func TestLabelsAreRefused(t *testing.T) {
	var many []string
	for i := range 17 {
		many = append(many, fmt.Sprintf("n%d=v", i))
	}
	for want, pairs := range map[string][]string{
		`"tier" is no label; want name=value, such as tier=canary`:   {"zone=a", "tier"},
		"the label tier comes twice":                                 {"tier=a", "zone=a", "tier=a"},
		`the name "" is empty; use 1 to 63 of`:                       {"=a"},
		`the value "" of the label tier is empty`:                    {"tier="},
		`the name "Tier" has 'T' at byte 1; use a-z`:                 {"Tier=a"},
		`the value "a b" of the label tier has ' ' at byte 2; use`:   {"tier=a b"},
		`the value "a=b" of the label tier has '=' at byte 2`:        {"tier=a=b"},
		`the value "a\x00" of the label tier has '\x00' at byte 2`:   {"tier=a\x00"},
		`the name "-tier" has '-' at its begin or end`:               {"-tier=a"},
		`the value "a." of the label tier has '.' at its begin or e`: {"tier=a."},
		`has 64 bytes, the most is 63`:                               {"tier=" + strings.Repeat("v", 64)},
		`vvv" has 100 bytes`:                                         {strings.Repeat("v", 100) + "=a"},
		"there are 17 labels, the most is 16":                        many,
	} {
		if _, err := fleet.ParseLabels(pairs); !errors.Is(err, fleet.ErrLabels) || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%q: the error is %v, want %s", pairs, err, want)
		}
	}
}

func TestSelection(t *testing.T) {
	fleetOf := []fleet.Status{
		{Instance: "a", Labels: map[string]string{"tier": "canary", "zone": "a"}},
		{Instance: "b", Labels: map[string]string{"tier": "canary", "zone": "b"}},
		{Instance: "b", PID: 2, Labels: map[string]string{"zone": "b"}},
		{Instance: "old"},
	}
	for text, tc := range map[string]struct {
		selection fleet.Selection
		want      string
	}{
		"all instances":                     {fleet.Selection{All: true}, "a/0 b/0 b/2 old/0"},
		"instance b":                        {fleet.Selection{Instances: []string{"b"}}, "b/0 b/2"},
		"instances old, a, none":            {fleet.Selection{Instances: []string{"old", "a", "none"}}, "a/0 old/0"},
		"instances with tier=canary":        {fleet.Selection{Labels: map[string]string{"tier": "canary"}}, "a/0 b/0"},
		"instances with tier=canary,zone=b": {fleet.Selection{Labels: map[string]string{"zone": "b", "tier": "canary"}}, "b/0"},
		"instances with tier=stable":        {fleet.Selection{Labels: map[string]string{"tier": "stable"}}, ""},
	} {
		var got []string
		for _, i := range tc.selection.Filter(fleetOf) {
			got = append(got, fmt.Sprintf("%s/%d", i.Instance, i.PID))
		}
		if strings.Join(got, " ") != tc.want || tc.selection.String() != text || tc.selection.Check() != nil {
			t.Errorf("%s chooses %q, want %s, %v", tc.selection, got, tc.want, tc.selection.Check())
		}
	}
	if missing := (fleet.Selection{Instances: []string{"c", "a", "d"}}).Missing(fleetOf); strings.Join(missing, " ") != "c d" {
		t.Errorf("missing are %q", missing)
	}
}

// Invariant: a selection that does not say what it chooses is refused, and chooses nothing.
func TestSelectionIsRefused(t *testing.T) {
	for what, s := range map[string]fleet.Selection{
		"nothing":         {},
		"all and names":   {All: true, Instances: []string{"a"}},
		"names and label": {Instances: []string{"a"}, Labels: map[string]string{"tier": "canary"}},
		"an empty name":   {Instances: []string{""}},
	} {
		if err := s.Check(); !errors.Is(err, fleet.ErrSelection) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := (fleet.Selection{Labels: map[string]string{"Tier": "a"}}).Check(); !errors.Is(err, fleet.ErrLabels) {
		t.Errorf("a bad label: %v", err)
	}
	if (fleet.Selection{}).Match(fleet.Status{}) || (fleet.Selection{}).String() != "no instance" {
		t.Error("the zero Selection chooses an instance")
	}
}
