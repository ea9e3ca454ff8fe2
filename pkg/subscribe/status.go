package subscribe

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/relays"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/clock"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// Status returns what this instance serves and how refreshing goes: the same that it answers to the fleet's surveys.
func (s *Subscriber) Status() fleet.Status {
	store := s.engine.Store()
	status := fleet.Status{
		Instance: s.cfg.Instance, Host: s.host, PID: os.Getpid(), Started: s.started, Run: s.run,
		Store: store.ID, StoreWarning: store.Warning, ForeignMessages: store.Foreign, StoreChanges: store.Changes,
	}
	for _, name := range s.cfg.Datasets {
		status.Datasets = append(status.Datasets, s.datasetStatus(name))
	}
	for _, h := range s.relays.Health() {
		r := fleet.RelayStatus{Relay: h.Relay, Standing: fleet.Standing(h.Standing), Failures: h.Failures, Refusals: h.Refusals}
		if h.Err != nil {
			r.Error = h.Err.Error()
		}
		status.Relays = append(status.Relays, r)
	}
	return status
}

// refused is told of a relay that gave wrong bytes. They are gone already; what is left is to say so.
func (s *Subscriber) refused(r pull.Refusal) {
	s.cfg.Log.Error("a relay gave wrong bytes, damaged in its store or on the way, which were discarded; it is asked only if no other relay is left", "relay", r.Relay,
		"object", r.Object.Digest, "error", r.Err)
}

// datasetStatus judges at the moment of asking: should the refreshing goroutine hang, the status tells of that as soon as
// nothing vouches for the dataset any more.
func (s *Subscriber) datasetStatus(name string) fleet.DatasetStatus {
	h, v, j := s.engine.Judge(name)
	d := fleet.DatasetStatus{
		Dataset: name, Newest: h.Newest, State: j.State, Since: j.Since, BehindSince: h.BehindSince, Vouched: h.Vouched,
		LastErrorAt: h.LastErrAt, Quarantined: h.QuarantinedRef,
	}
	if v != nil {
		d.ID = v.ID
		d.Version, d.Records, d.Bytes, d.From = v.Record.Version, v.Value.Len(), v.Value.Bytes(), origin(v)
		d.Created, d.ExpectEvery, d.Served = v.Record.Created, v.Record.ExpectEvery, v.At
		if !v.Record.Created.IsZero() { // a recovered version does not say
			d.AgeSeconds = max(0, clock.Wall().Sub(v.Record.Created).Seconds())
		}
		d.LastPull = pullOf(v)
	}
	switch {
	case d.State == fleet.Diverged:
	case d.Newest <= d.Version: // swapped in since h was written
		d.Newest, d.BehindSince = d.Version, time.Time{}
	}
	if !d.BehindSince.IsZero() {
		d.BehindSeconds = time.Since(d.BehindSince).Seconds()
	}
	s.mu.Lock()
	d.Refreshes = s.refreshes[name]
	for _, c := range s.callbacks[name] {
		if !c.behind.IsZero() {
			d.FollowersBehindSeconds = max(d.FollowersBehindSeconds, time.Since(c.behind).Seconds())
		}
	}
	s.mu.Unlock()
	d.Refreshes.Failed, d.Refreshes.Panicked, d.Refreshes.Healed = h.Failed, h.Panicked, h.Healed
	if h.Err != nil {
		d.Error = h.Err.Error()
	}
	if h.LastErr != nil {
		d.LastError = h.LastErr.Error()
	}
	d.Warning = s.warning(d, h)
	return d
}

// warning returns what wants looking after although it stops no refresh, as far as the state does not say it.
func (s *Subscriber) warning(d fleet.DatasetStatus, h refresh.Health) string {
	var all []string
	var hangs error
	if s.cache != nil {
		if err := s.cache.Damage(d.Dataset); err != nil {
			all = append(all, err.Error())
		}
		if hangs = s.cache.Hangs(); hangs != nil {
			all = append(all, hangs.Error())
		}
	}
	if d.State == fleet.Blind || d.State == fleet.Lagging && h.CatchUpErr != nil {
		all = append(all, h.Why(d.State, nil))
		if err := s.link.Err(); err != nil && !strings.Contains(all[len(all)-1], err.Error()) {
			all = append(all, err.Error())
		}
	}
	if h.ClockAhead != "" && time.Now().Before(h.ClockAheadUntil) {
		all = append(all, h.ClockAhead)
	}
	if h.Quarantined != "" {
		all = append(all, h.Quarantined)
	}
	if d.State == fleet.Diverged {
		all = append(all, h.Diverged)
	}
	if h.Conflict != "" && d.State != fleet.Blind {
		all = append(all, h.Conflict)
	}
	if h.LongPeriod != "" {
		all = append(all, h.LongPeriod)
	}
	if h.Regressed != "" && d.State != fleet.Blind {
		all = append(all, h.Regressed)
	}
	if err := s.cacheErr(d, h.FinishErr); err != nil && (hangs == nil || !errors.Is(err, cachedir.ErrHangs)) {
		all = append(all, "not kept in the cache folder: "+err.Error())
	}
	for _, r := range s.relays.Health() {
		if r.Standing == relays.Distrusted {
			all = append(all, fmt.Sprintf("relay %s gave wrong bytes, from the store or on the way, %d times so far: %v", r.Relay, r.Refusals, r.Err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.callbacks[d.Dataset] {
		if err := c.trouble(s.cfg.StallTimeout); err != nil {
			all = append(all, err.Error())
		}
	}
	return strings.Join(all, "; ")
}

// cacheErr returns why the version is not in the cache folder; nil if it is. finish is the error of the refresh that brought
// the version.
func (s *Subscriber) cacheErr(d fleet.DatasetStatus, finish error) error {
	if s.shortener == nil {
		return finish
	}
	return s.shortener.CacheError(d.Dataset, dataset.Ref{Version: d.Version, ID: d.ID}, finish)
}

// pullOf returns what the refresh cost that brought v.
func pullOf(v *served) fleet.Pull {
	p := fleet.Pull{Bytes: v.Pull.Bytes, Full: v.Pull.Full, Deltas: v.Pull.Deltas, Duration: v.Duration}
	if v.Pull.GaveUp != nil {
		p.GaveUp = v.Pull.GaveUp.Error()
	}
	return p
}

// count adds the refresh that brought now to the sums of the status.
func (s *Subscriber) count(now *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refreshes[now.Record.Dataset]
	switch {
	case now.Stored: // it is no refresh
		return
	case now.Pull.Full:
		r.Full++
	default:
		r.Delta++
	}
	if now.Pull.GaveUp != nil {
		r.GaveUp++
	}
	r.PulledBytes += now.Pull.Bytes
	s.refreshes[now.Record.Dataset] = r
}
