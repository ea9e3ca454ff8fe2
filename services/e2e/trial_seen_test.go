package e2e

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"freshet.dev/pkg/fleet"
	"github.com/nats-io/nats.go"
)

// hear records the states that the instances report over NATS, because polling misses short states.
func (tr *trial) hear(url string) {
	tr.t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.t.Cleanup(nc.Close)
	reports, err := fleet.WatchReports(tr.t.Context(), nc, "", tr.name)
	if err != nil {
		tr.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tr.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			r, err := reports.Next(ctx)
			if err != nil {
				return
			}
			if r.Kind != fleet.OfState {
				continue
			}
			r.At = time.Now() // the clock of an instance may be what the trial makes wrong
			tr.mu.Lock()
			tr.reported = append(tr.reported, r)
			tr.mu.Unlock()
		}
	})
	tr.t.Cleanup(func() { cancel(); running.Wait() })
}

// seen lists the states that the instances reported since the fault began, in order, with the longest duration of each that polling
// saw.
func (tr *trial) seen() string {
	first, longest := map[fleet.State]time.Time{}, map[fleet.State]time.Duration{}
	note := func(state fleet.State, at time.Time) {
		if was, ok := first[state]; !ok || at.Before(was) {
			first[state] = at
		}
	}
	for _, i := range tr.instances {
		last, since := fleet.State(""), time.Time{}
		for _, s := range i.samples() {
			if s.asked.Before(tr.began) {
				continue
			}
			if s.State != last {
				last, since = s.State, s.asked
			}
			if s.State != "" {
				note(s.State, s.asked)
				longest[s.State] = max(longest[s.State], s.asked.Sub(since))
			}
		}
	}
	tr.mu.Lock()
	for _, r := range tr.reported {
		if r.At.After(tr.began) {
			note(r.State, r.At)
		}
	}
	tr.mu.Unlock()
	order := slices.SortedFunc(maps.Keys(first), func(a, b fleet.State) int {
		return cmp.Or(first[a].Compare(first[b]), cmp.Compare(a, b))
	})
	var text []string
	for _, state := range order {
		text = append(text, fmt.Sprintf("%s %.2fs", state, longest[state].Seconds()))
	}
	return strings.Join(text, ", ")
}
