package refresh

import (
	"errors"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
)

// began is when the dataset of the tests of Judge began.
var began = time.Now()

// after returns the time so long after began.
func after(d time.Duration) time.Time { return began.Add(d) }

// promised is a version that was committed when the dataset began, with a promise.
func promised(version uint64, every time.Duration) *dataset.VersionRecord {
	return &dataset.VersionRecord{Dataset: "prices", Version: version, Created: began.Round(0), ExpectEvery: every}
}

func TestJudge(t *testing.T) {
	const period = 5 * time.Second
	fresh := Health{Began: began, Confirmed: after(0), Period: period, Newest: 1, Announced: 1}
	with := func(change func(h *Health)) Health {
		h := fresh
		change(&h)
		return h
	}
	behind := func(h *Health) { h.Newest, h.Announced, h.BehindSince = 2, 2, after(1*time.Second) }
	refreshing := func(h *Health) { behind(h); h.Refreshing, h.RefreshingSince = true, after(2*time.Second) }
	failing := func(h *Health) { behind(h); h.Err, h.FailingSince = errLoad, after(3*time.Second) }
	for name, tc := range map[string]struct {
		health Health
		rec    *dataset.VersionRecord
		at     time.Duration
		wall   time.Duration // beside at
		state  fleet.State
		since  time.Duration
		left   time.Duration
	}{
		"fresh":                 {fresh, promised(1, 0), 4 * time.Second, 0, fleet.Fresh, 4 * time.Second, 11 * time.Second},
		"fresh to the last":     {fresh, promised(1, 0), 15*time.Second - 1, 0, fleet.Fresh, 15*time.Second - 1, 1},
		"fresh since before":    {with(func(h *Health) { h.State, h.Since = fleet.Fresh, after(1) }), promised(1, 0), time.Second, 0, fleet.Fresh, 1, 14 * time.Second},
		"fresh with a promise":  {fresh, promised(1, time.Minute), 14 * time.Second, 0, fleet.Fresh, 14 * time.Second, time.Second},
		"fresh, soon overdue":   {fresh, promised(1, 10*time.Second), 4 * time.Second, 0, fleet.Fresh, 4 * time.Second, 6 * time.Second},
		"waiting":               {with(func(h *Health) { h.Newest, h.Announced = 0, 0 }), nil, time.Second, 0, fleet.Waiting, time.Second, 14 * time.Second},
		"overdue":               {fresh, promised(1, 10*time.Second), 10 * time.Second, 0, fleet.Overdue, 10 * time.Second, 5 * time.Second},
		"lagging":               {with(behind), promised(1, 0), 4 * time.Second, 0, fleet.Lagging, time.Second, 11 * time.Second},
		"lagging with nothing":  {with(behind), nil, 4 * time.Second, 0, fleet.Lagging, time.Second, 11 * time.Second},
		"lagging, and overdue":  {with(behind), promised(1, time.Second), 4 * time.Second, 0, fleet.Lagging, time.Second, 11 * time.Second},
		"refreshing":            {with(refreshing), promised(1, time.Second), 4 * time.Second, 0, fleet.Refreshing, 2 * time.Second, 11 * time.Second},
		"a lane has the newest": {with(refreshing), promised(2, 0), 4 * time.Second, 0, fleet.Fresh, 4 * time.Second, 11 * time.Second},
		"failing":               {with(failing), promised(1, 0), 4 * time.Second, 0, fleet.Failing, 3 * time.Second, 11 * time.Second},
		"failing, tried again":  {with(func(h *Health) { refreshing(h); failing(h) }), promised(1, 0), 4 * time.Second, 0, fleet.Failing, 3 * time.Second, 11 * time.Second},
		"failing, and blind":    {with(failing), promised(1, 0), time.Hour, 0, fleet.Failing, 3 * time.Second, 0},
		"blind":                 {fresh, promised(1, 0), 15 * time.Second, 0, fleet.Blind, 15 * time.Second, 0},
		"blind for long":        {fresh, promised(1, 0), time.Hour, 0, fleet.Blind, 15 * time.Second, 0},
		"blind, soon overdue":   {fresh, promised(1, 2*time.Hour), time.Hour, 0, fleet.Blind, 15 * time.Second, time.Hour},
		"blind, and overdue":    {fresh, promised(1, time.Second), time.Hour, 0, fleet.Blind, 15 * time.Second, 0},
		"blind, and refreshing": {with(refreshing), promised(1, 0), time.Minute, 0, fleet.Blind, 15 * time.Second, 0},
		"blind, and waiting":    {with(func(h *Health) { h.Newest, h.Announced = 0, 0 }), nil, time.Minute, 0, fleet.Blind, 15 * time.Second, 0},
		"blind from the start":  {with(func(h *Health) { h.Confirmed = time.Time{} }), promised(1, 0), 0, 0, fleet.Blind, 0, 0},
		"never heard anything":  {with(func(h *Health) { h.Confirmed = time.Time{} }), nil, time.Hour, 0, fleet.Blind, 0, 0},
		"a longer period":       {with(func(h *Health) { h.Period = time.Minute }), promised(1, 0), time.Minute, 0, fleet.Fresh, time.Minute, 2 * time.Minute},

		// A wall clock that jumps affects only the overdue state.
		"a clock that is a day ahead":           {fresh, promised(1, 0), 4 * time.Second, 24 * time.Hour, fleet.Fresh, 4 * time.Second, 11 * time.Second},
		"a clock that is a day behind":          {fresh, promised(1, 0), 4 * time.Second, -24 * time.Hour, fleet.Fresh, 4 * time.Second, 11 * time.Second},
		"a promise and a clock that is ahead":   {fresh, promised(1, time.Hour), 4 * time.Second, 24 * time.Hour, fleet.Overdue, time.Hour, 11 * time.Second},
		"a promise and a clock that is behind":  {fresh, promised(1, time.Second), 4 * time.Second, -24 * time.Hour, fleet.Fresh, 4 * time.Second, 11 * time.Second},
		"blind, and a clock that is far behind": {fresh, promised(1, 0), time.Minute, -24 * time.Hour, fleet.Blind, 15 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			j := tc.health.Judge(tc.rec, after(tc.at), after(tc.at).Round(0).Add(tc.wall))
			if j.State != tc.state || !j.Since.Equal(after(tc.since)) || j.Left != tc.left {
				t.Errorf("judged %s since %s, %s left; want %s since %s, %s left", j.State, j.Since.Sub(began), j.Left, tc.state, tc.since, tc.left)
			}
		})
	}
}

// A graver state precedes a lesser one, whatever else is true.
func TestStatesInTheOrderOfTheirGravity(t *testing.T) {
	causes := map[fleet.State]func(h *Health, rec *dataset.VersionRecord){
		fleet.Failing:    func(h *Health, _ *dataset.VersionRecord) { h.Err = errLoad },
		fleet.Blind:      func(h *Health, _ *dataset.VersionRecord) { h.Confirmed = after(-time.Hour) },
		fleet.Refreshing: func(h *Health, _ *dataset.VersionRecord) { h.Newest, h.Refreshing = 2, true },
		fleet.Lagging:    func(h *Health, _ *dataset.VersionRecord) { h.Newest = 2 },
		fleet.Overdue:    func(_ *Health, rec *dataset.VersionRecord) { rec.ExpectEvery = time.Nanosecond },
		fleet.Fresh:      func(*Health, *dataset.VersionRecord) {},
	}
	for i, graver := range fleet.States {
		for _, other := range fleet.States[i:] {
			if causes[graver] == nil || causes[other] == nil {
				continue // Waiting, which is without a version
			}
			h := Health{Began: began, Confirmed: after(0), Period: time.Second, Newest: 1}
			rec := promised(1, 0)
			causes[other](&h, rec)
			causes[graver](&h, rec)
			if j := h.Judge(rec, after(time.Second), after(time.Second)); j.State != graver {
				t.Errorf("%s and %s is %s", graver, other, j.State)
			}
		}
	}
}

func TestWhy(t *testing.T) {
	h := Health{
		Began: began, Period: 5 * time.Second, Newest: 3, Announced: 2, Err: errLoad, Denied: errors.New("no permission"), CatchUpErr: errors.New("log is down"),
	}
	for state, want := range map[fleet.State][]string{
		fleet.Failing:    {"no luck"},
		fleet.Blind:      {"since the start", "no permission", "log is down"},
		fleet.Refreshing: {"version 3"},
		fleet.Lagging:    {"a beacon named version 3", "log is down"},
		fleet.Overdue:    {"no version after 1", "24h"},
		fleet.Waiting:    {"no version yet"},
		fleet.Fresh:      {"version 1 is the newest"},
	} {
		why := h.Why(state, promised(1, 24*time.Hour))
		for _, text := range want {
			if !strings.Contains(why, text) {
				t.Errorf("%s: %q, want in it %q", state, why, text)
			}
		}
	}
	h.Confirmed, h.Announced = after(0), 3
	if why := h.Why(fleet.Blind, nil); !strings.Contains(why, "for 3 periods of 5s") {
		t.Error(why)
	}
	if why := h.Why(fleet.Lagging, nil); why != "version 3 waits to be loaded" {
		t.Error(why)
	}
	if why := h.Why(fleet.Waiting, nil); why != "there is no version yet" {
		t.Error(why)
	}
}

func TestUnserved(t *testing.T) {
	var n unserved
	if !n.since().IsZero() {
		t.Error("a version is unserved")
	}
	for v := range uint64(1000) {
		n = n.add(v+1, after(time.Duration(v+1)))
	}
	n = n.add(7, after(time.Hour))
	if len(n) != maxUnserved || !n.since().Equal(after(1)) || n[maxUnserved-1].version != 1000 {
		t.Errorf("%d unserved versions, from %v to %v", len(n), n[0], n[len(n)-1])
	}
	if since := n.after(40).since(); !since.Equal(after(41)) {
		t.Errorf("behind version 41 since %s", since.Sub(began))
	}
	// A version that was not remembered one by one seems known for at least as long as it is.
	if since := n.after(999).since(); since.After(after(1000)) {
		t.Errorf("behind version 1000 since %s", since.Sub(began))
	}
	if n.after(1000) != nil {
		t.Error("a version beyond the newest is unserved")
	}
	if n := n.upTo(10); len(n) != 10 || n[9].version != 10 {
		t.Errorf("unserved up to version 10: %v", n)
	}
	// A lower version that became known later does not change the time, unless the higher one is dropped.
	n = unserved(nil).add(9, after(1)).add(6, after(2))
	if since := n.since(); !since.Equal(after(1)) {
		t.Errorf("behind since %s", since.Sub(began))
	}
	if since := n.upTo(8).since(); !since.Equal(after(2)) {
		t.Errorf("behind version 6 since %s", since.Sub(began))
	}
}

func TestPublishers(t *testing.T) {
	const every = time.Second
	now := began
	var c publishers
	// name records a beacon of the publisher that names version, while newest is known.
	name := func(publisher string, version, newest uint64) (regressed bool) {
		return c.record(events.Report{Version: version, At: now, Every: every, Publisher: publisher}, newest) >= events.BlindAfter
	}
	// A publisher is right even if events overtake it between its read of the store and its beacon.
	for v := range uint64(10) {
		now = now.Add(every)
		if name("quick", 10*v+5, 10*v+14) || c["quick"].below != 0 {
			t.Errorf("a publisher that names version %d when version %d is known counts as wrong", 10*v+5, 10*v+14)
		}
	}
	c = nil
	for i := range 10 {
		now = now.Add(every)
		name("right", 7, 7)
		if regressed := name("wrong", 3, 7); regressed != (i >= events.BlindAfter) {
			t.Errorf("beacon %d of an older version: %v", i+1, regressed)
		}
		if text := c.regressed(7); strings.Contains(text, "wrong name version 3") != (i >= events.BlindAfter) || strings.Contains(text, "right") {
			t.Errorf("after beacon %d: %q", i+1, text)
		}
	}
	if text := c.regressed(3); text != "" {
		t.Errorf("an instance that serves the named version warns: %q", text)
	}
	now = now.Add(every)
	if name("wrong", 7, 7) || c.regressed(7) != "" {
		t.Error("a publisher that is right again still counts as wrong")
	}
	for range 10 {
		now = now.Add(every)
		name("wrong", 3, 7)
	}
	now = now.Add(10 * every)
	name("right", 7, 7)
	if text := c.regressed(7); text != "" {
		t.Errorf("a publisher that has gone still counts as wrong: %s", text)
	}
	for i := range 1000 {
		name(strings.Repeat("x", i), 1, 1)
	}
	if len(c) > maxPublishers {
		t.Errorf("%d publishers are tracked", len(c))
	}
}
