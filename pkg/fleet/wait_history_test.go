package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

var (
	idA, idB = dataset.VersionID{0xa1}, dataset.VersionID{0xb2}
	storeA   = dataset.StoreID{0xa3}
	storeB   = dataset.StoreID{0xb4}
	timeA    = time.Date(2026, 11, 22, 18, 0, 0, 123456789, time.UTC)
)

// statusOf returns the status of an instance that serves a version of cities.
func statusOf(store dataset.StoreID, ref dataset.Ref, state fleet.State, created time.Time) fleet.Status {
	d := serving("cities", ref.Version)
	d.ID, d.State, d.Created = ref.ID, state, created
	return fleet.Status{Host: "host", PID: 1, Store: store, Datasets: []fleet.DatasetStatus{d}}
}

// The test waits for version 7 of store A, with id A. The store's newest version is 8, with id A as well.
func TestWaitServedComparesIDs(t *testing.T) {
	other := timeA.Add(time.Second)
	for name, tc := range map[string]struct {
		status fleet.Status
		behind string // the instance's entry in BehindError; empty if it serves the version
		warned string // the error in a report about the instance
	}{
		"the version":                     {status: statusOf(storeA, dataset.Ref{Version: 7, ID: idA}, fleet.Fresh, timeA)},
		"a later one":                     {status: statusOf(storeA, dataset.Ref{Version: 8, ID: idA}, fleet.Fresh, other)},
		"the number, diverged":            {status: statusOf(storeA, dataset.Ref{Version: 7, ID: idB}, fleet.Diverged, timeA), behind: "one (diverged, serves 7 (b20000000000))"},
		"the number, another id":          {status: statusOf(storeA, dataset.Ref{Version: 7, ID: idB}, fleet.Fresh, timeA), behind: "one (fresh, serves 7 (b20000000000))"},
		"a number above, another id":      {status: statusOf(storeA, dataset.Ref{Version: 8, ID: idB}, fleet.Fresh, timeA), behind: "one (fresh, serves 8 (b20000000000))"},
		"a version before":                {status: statusOf(storeA, dataset.Ref{Version: 6, ID: idB}, fleet.Lagging, timeA), behind: "one (lagging, serves 6 (b20000000000))"},
		"nothing":                         {status: statusOf(storeA, dataset.Ref{}, fleet.Waiting, time.Time{}), behind: "one (waiting, serves 0)"},
		"a store that has no record":      {status: statusOf(dataset.StoreID{}, dataset.Ref{Version: 7, ID: idB}, fleet.Blind, timeA), behind: "one (blind, serves 7 (b20000000000))"},
		"no id":                           {status: statusOf(dataset.StoreID{}, dataset.Ref{Version: 7}, fleet.Fresh, timeA)},
		"no id and no time":               {status: statusOf(dataset.StoreID{}, dataset.Ref{Version: 7}, fleet.Fresh, time.Time{})},
		"no id, a later one":              {status: statusOf(dataset.StoreID{}, dataset.Ref{Version: 8}, fleet.Fresh, other)},
		"no id, of another time":          {status: statusOf(dataset.StoreID{}, dataset.Ref{Version: 7}, fleet.Fresh, other), behind: "one (fresh, serves 7, reports no id, and nothing proves that this is a version of the store)"},
		"no id, above the store's newest": {status: statusOf(dataset.StoreID{}, dataset.Ref{Version: 9}, fleet.Fresh, timeA), behind: "one (fresh, serves 9, reports no id, and nothing proves that this is a version of the store)"},
		"another store": {
			status: statusOf(storeB, dataset.Ref{Version: 9, ID: idB}, fleet.Fresh, timeA),
			behind: "one (fresh, serves 9 (b20000000000), reads another store (" + storeB.String() + "))",
			warned: "it reads another store (" + storeB.String() + ")",
		},
		"another store, and a failure": {
			status: func() fleet.Status {
				s := statusOf(storeB, dataset.Ref{Version: 7, ID: idB}, fleet.Failing, timeA)
				s.Datasets[0].Error = "no space"
				return s
			}(),
			behind: "one (failing, serves 7 (b20000000000), reads another store (" + storeB.String() + "), last error: no space)",
			warned: "no space",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, s, nc := start(t)
			tc.status.Instance = "one"
			run(t, s.URL, "one").status.Store(&tc.status)
			if tc.behind != "" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 700*time.Millisecond)
				defer cancel()
			}
			var warned []string
			err := fleet.WaitServed(ctx, nc, fleet.Wait{
				Dataset: "cities", Version: dataset.Ref{Version: 7, ID: idA}, Store: storeA, Created: timeA,
				Newer: func(r fleet.Report) bool {
					return r.Version == 8 && (r.ID == idA || r.ID.IsZero() && r.Created.Equal(other))
				},
				OnReport: func(r fleet.Report) {
					if r.Error != "" {
						warned = append(warned, r.Error)
					}
				},
			})
			if !slices.Contains(warned, tc.warned) && tc.warned != "" || tc.warned == "" && len(warned) > 0 {
				t.Errorf("the warnings are %q, want %q", warned, tc.warned)
			}
			if tc.behind == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var behind *fleet.BehindError
			if !errors.As(err, &behind) || !slices.Equal(behind.Behind, []string{tc.behind}) {
				t.Errorf("the error is %v, want that it names %q", err, tc.behind)
			}
			if err != nil && !strings.Contains(err.Error(), "version 7 (a10000000000) of cities") {
				t.Errorf("the error does not name the version: %v", err)
			}
		})
	}
}

// The message about a thousand instances that are behind does not have a thousand names.
func TestBehindErrorNamesTen(t *testing.T) {
	behind := make([]string, 12)
	for i := range behind {
		behind[i] = fmt.Sprintf("api-%02d", i)
	}
	text := (&fleet.BehindError{Dataset: "prices", Behind: behind, Err: errors.New("late")}).Error()
	if !strings.Contains(text, "api-09 and 2 more: late") || strings.Contains(text, "api-10") {
		t.Error(text)
	}
}
