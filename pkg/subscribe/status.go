package subscribe

import (
	"fmt"
	"os"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/pull"
)

// Status returns what this instance serves and how refreshing goes: the same that it answers to the fleet's surveys.
func (s *Subscriber) Status() fleet.Status {
	status := fleet.Status{Instance: s.cfg.Instance, Host: s.host, PID: os.Getpid(), Started: s.started}
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
	s.cfg.Log.Error("a relay gave wrong bytes, which were discarded; it is asked only if no other relay is left", "relay", r.Relay,
		"object", r.Object.Digest, "error", r.Err)
}

func (s *Subscriber) datasetStatus(name string) fleet.DatasetStatus {
	d := fleet.DatasetStatus{Dataset: name, State: fleet.Waiting, Since: s.started}
	if v := s.engine.Served(name); v != nil {
		d.Version, d.Records, d.Bytes, d.From = v.Record.Version, v.Value.Len(), v.Value.Bytes(), origin(v)
		d.State, d.Since = fleet.Serving, v.At
		d.LastPull = pullOf(v)
	}
	s.mu.Lock()
	d.Refreshes = s.refreshes[name]
	s.mu.Unlock()
	h := s.engine.Health(name)
	if h.Err != nil {
		d.State, d.Since, d.Error = fleet.Failing, h.FailingSince, h.Err.Error()
	}
	d.Warning = s.warning(name, d.Version, h.FinishErr)
	return d
}

// warning returns what wants looking after although refreshing goes well. cacheErr is that of the refresh that brought
// the version.
func (s *Subscriber) warning(name string, version uint64, cacheErr error) string {
	if s.shortener != nil {
		if s.shortener.Kept(name) >= version {
			cacheErr = nil // a snapshot has been cached since
		}
		if cacheErr == nil {
			cacheErr = s.shortener.Failed(name)
		}
	}
	if cacheErr != nil {
		return "not kept in the cache folder: " + cacheErr.Error()
	}
	for _, h := range s.relays.Health() {
		if h.Standing == pull.Distrusted {
			return fmt.Sprintf("relay %s gave wrong bytes, %d times so far: %v", h.Relay, h.Refusals, h.Err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.callbacks[name] {
		if err := c.failed.Load(); err != nil {
			return (*err).Error()
		}
	}
	return ""
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
