package subscribe

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/relays"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/clock"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// Status returns what this instance serves and how refreshing goes. The answers to the fleet's surveys are the same.
func (s *Subscriber) Status() fleet.Status {
	store := s.engine.Store()
	status := fleet.Status{
		Instance: s.cfg.Instance, Host: s.host, PID: os.Getpid(), Started: s.started, Run: s.run, Labels: maps.Clone(s.cfg.Labels),
		Abilities: fleet.Abilities(),
		Store:     store.ID, StoreWarning: store.Warning, ForeignMessages: store.IgnoredMessages, StoreChanges: store.Changes,
	}
	for _, name := range s.cfg.Datasets {
		status.Datasets = append(status.Datasets, s.datasets[name].Status())
	}
	for _, h := range s.relays.Health() {
		status.Relays = append(status.Relays, fleet.RelayStatus{
			Relay: h.Relay, Standing: fleet.Standing(h.Standing), Failures: h.Failures, Refusals: h.Refusals, Error: text(h.Err),
		})
	}
	return status
}

// State returns the state that Status would return now. It reads the clock and allocates nothing, for callers that report the state with each
// lookup.
func (d *Dataset) State() fleet.State { return d.s.engine.State(d.name) }

// Status returns what is served of the dataset, how fresh it is, and how refreshing goes. The state is judged during the call.
// If the refreshing goroutine hangs, the status reports that when nothing has confirmed the newest version for three beacon periods.
func (d *Dataset) Status() fleet.DatasetStatus {
	h, v, j := d.s.engine.Judge(d.name)
	st := fleet.DatasetStatus{
		Dataset: d.name, Newest: h.Newest, State: j.State, Since: j.Since, BehindSince: h.BehindSince, Confirmed: h.Confirmed,
		LastErrorAt: h.LastErrAt, Quarantined: h.QuarantinedRef,
		Pin: h.Pin, PinnedUntil: h.PinnedUntil,
	}
	if v != nil {
		st.ID, st.Version, st.From, st.Deleted = v.ID, v.Record.Version, origin(v), deletion(v)
		if !v.NoValue {
			st.Records, st.Bytes = v.Value.Len(), v.Value.Bytes()
		}
		st.Created, st.ExpectEvery, st.Served = v.Record.Created, v.Record.ExpectEvery, v.At
		if !v.Record.Created.IsZero() { // a recovered version has no time
			st.AgeSeconds = max(0, clock.Wall().Sub(v.Record.Created).Seconds())
		}
		st.LastPull = pullOf(v)
	}
	st.KeptVersions, st.KeptBytes = d.s.roots.Kept(d.name)
	switch {
	case st.State == fleet.Diverged:
	case st.Newest <= st.Version: // swapped in since h was written
		st.Newest, st.BehindSince = st.Version, time.Time{}
	}
	if h.Pin != nil && h.PinServed && st.State == fleet.Lagging {
		st.BehindSince = j.Since // the pin is older than PinFor
	}
	if !st.BehindSince.IsZero() {
		st.BehindSeconds = time.Since(st.BehindSince).Seconds()
	}
	d.s.mu.Lock()
	st.Refreshes = d.refreshes
	var indexesBehind time.Duration
	for _, c := range d.callbacks {
		if c.behind.IsZero() {
			continue
		}
		behind := time.Since(c.behind)
		st.FollowersBehindSeconds = max(st.FollowersBehindSeconds, behind.Seconds())
		if d.indexes != nil && c == d.indexes.callback {
			indexesBehind = behind
		}
	}
	d.s.mu.Unlock()
	st.Indexes = d.indexes.status(indexesBehind)
	st.Refreshes.Failed, st.Refreshes.Panicked, st.Refreshes.Healed = h.Failed, h.Panicked, h.Healed
	st.Error, st.LastError = text(h.Err), text(h.LastErr)
	st.Warning = d.warning(st, h)
	return st
}

// warning returns the faults that need attention although no refresh fails because of them. Before the first version it includes why the
// instance may not learn of versions.
func (d *Dataset) warning(st fleet.DatasetStatus, h refresh.Health) string {
	s := d.s
	var all []string
	var hangs error
	if s.cache != nil {
		if err := s.cache.Damage(d.name); err != nil {
			all = append(all, err.Error())
		}
		if hangs = s.cache.Hangs(); hangs != nil {
			all = append(all, hangs.Error())
		}
	}
	all = append(all, h.PinWarning(st.State, time.Now())...)
	if st.State == fleet.Blind || st.Version > 0 && h.Pin == nil && st.State == fleet.Lagging && h.CatchUpErr != nil {
		all = append(all, h.Why(st.State, nil))
		if err := s.nc.down(); err != nil && !strings.Contains(all[len(all)-1], err.Error()) {
			all = append(all, err.Error())
		}
	}
	if st.Version == 0 && st.State != fleet.Blind {
		if err := s.unreachable(h); err != nil {
			all = append(all, err.Error())
		}
	}
	if h.ClockAhead != "" && time.Now().Before(h.ClockAheadUntil) {
		all = append(all, h.ClockAhead)
	}
	if h.Quarantined != "" {
		all = append(all, h.Quarantined)
	}
	if st.State == fleet.Diverged {
		all = append(all, h.Diverged)
	}
	if h.Conflict != "" && st.State != fleet.Blind {
		all = append(all, h.Conflict)
	}
	if h.LongPeriod != "" {
		all = append(all, h.LongPeriod)
	}
	if h.Regressed != "" && st.State != fleet.Blind {
		all = append(all, h.Regressed)
	}
	if err := s.cacheErr(st, h.FinishErr); err != nil && (hangs == nil || !errors.Is(err, cachedir.ErrHangs)) {
		all = append(all, "not kept in the cache folder: "+err.Error())
	}
	for _, r := range s.relays.Health() {
		if r.Standing == relays.Distrusted {
			all = append(all, fmt.Sprintf("relay %s gave wrong bytes, from the store or on the way, %d times so far: %v", r.Relay, r.Refusals, r.Err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range d.callbacks {
		if err := c.trouble(s.cfg.StallTimeout); err != nil {
			all = append(all, err.Error())
		}
	}
	return strings.Join(all, "; ")
}

// cacheErr returns why the version is not in the cache folder; nil if it is. finish is the error of storing it after its refresh.
func (s *Subscriber) cacheErr(d fleet.DatasetStatus, finish error) error {
	if s.shortener == nil {
		return finish
	}
	served := dataset.Ref{Version: d.Version, ID: d.ID}
	if d.Deleted != nil {
		served = d.Deleted.Serves
	}
	return s.shortener.CacheError(d.Dataset, served, finish)
}

// pullOf returns the cost of the refresh that loaded v.
func pullOf(v *served) fleet.Pull {
	return fleet.Pull{Bytes: v.Pull.Bytes, Full: v.Pull.Full, Deltas: v.Pull.Deltas, Fallback: text(v.Pull.Fallback), Duration: v.Duration}
}

// count adds a refresh to the sums of the status.
func (d *Dataset) count(e Refresh) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	switch {
	case e.From == fleet.Cache: // a load from the cache folder is no refresh
		return
	case e.Full:
		d.refreshes.Full++
	default:
		d.refreshes.Delta++
	}
	if e.Fallback != nil {
		d.refreshes.Fallbacks++
	}
	d.refreshes.PulledBytes += e.PulledBytes
}
