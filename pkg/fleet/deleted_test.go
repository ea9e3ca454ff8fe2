package fleet_test

import (
	"errors"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/google/go-cmp/cmp"
)

func TestLacking(t *testing.T) {
	ctx, s, nc := start(t)
	opts := fleet.SurveyOptions{Dataset: "prices"}
	lacking := func() (names []string) {
		t.Helper()
		all, err := fleet.Lacking(ctx, nc, opts, fleet.AbilityDeleted)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			names = append(names, s.Instance)
		}
		return names
	}
	if names := lacking(); names != nil {
		t.Errorf("of no instance: %q", names)
	}
	for name, status := range map[string]fleet.Status{
		"today":  {Abilities: fleet.Abilities(), Datasets: []fleet.DatasetStatus{serving("prices", 9)}},
		"other":  {Datasets: []fleet.DatasetStatus{serving("cities", 9)}},
		"old":    {Datasets: []fleet.DatasetStatus{serving("prices", 9)}},
		"oldest": {Omitted: 1},
		"later":  {Abilities: []string{"fly", fleet.AbilityDeleted}, Omitted: 1},
		"lame":   {Abilities: []string{"fly"}, Datasets: []fleet.DatasetStatus{serving("prices", 9)}},
	} {
		status.Instance = name
		run(t, s.URL, name).status.Store(&status)
	}
	if diff := cmp.Diff([]string{"lame", "old", "oldest"}, lacking()); diff != "" {
		t.Error(diff)
	}
	if _, err := fleet.Lacking(ctx, nc, fleet.SurveyOptions{}, fleet.AbilityDeleted); err == nil {
		t.Error("no dataset is named, and there is no error")
	}
}

func TestLackingIsNotKnown(t *testing.T) {
	ctx, s, nc := start(t)
	silent(t, s.URL)
	opts := fleet.SurveyOptions{Dataset: "prices", Stall: 100 * time.Millisecond, Wait: 200 * time.Millisecond}
	if _, err := fleet.Lacking(ctx, nc, opts, fleet.AbilityDeleted); !errors.Is(err, fleet.ErrNoAnswer) {
		t.Errorf("of one that hangs: %v", err)
	}
}

func TestDeletionText(t *testing.T) {
	d := fleet.Deletion{By: "ann", Reason: "it was mistyped", At: time.Unix(0, 0), Serves: dataset.Ref{Version: 4}}
	if got, want := d.String(), "deleted by ann, because it was mistyped (1970-01-01T00:00:00Z)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
