package fleet

import (
	"fmt"
	"strconv"

	"freshet.dev/pkg/dataset"
)

// process identifies an instance; two instances may have the same name.
type process struct {
	instance string
	host     string
	pid      int
	// run distinguishes successive processes with the same name, host and process id. It is [Status].Run or, for releases up to
	// v0.2, the time of the start. It is empty in reports of those releases.
	run string
}

// runOf returns the run of the instance with the status s.
func runOf(s Status) string {
	if s.Run == "" && !s.Started.IsZero() {
		return "started " + strconv.FormatInt(s.Started.UnixNano(), 10)
	}
	return s.Run
}

// isRunOf reports whether p and q have the same name, host and process id.
func (p process) isRunOf(q process) bool {
	p.run, q.run = "", ""
	return p == q
}

// progress is the progress of an instance towards the version.
type progress struct {
	version Report          // of the last version that it is known to serve
	state   State           // empty if no survey has had its answer
	store   dataset.StoreID // of its relays; zero if unknown
	omitted int             // datasets that its last answer omitted; the one waited for may be among them
	served  bool
	pinned  *dataset.Pin // to another version, which it holds; nil if it is not
	err     string       // of the last refresh that failed
	missed  int          // surveys in a row
	// servedReported is true once OnReport has a report that the instance serves the version, storeReported once OnReport has one
	// that it reads another store.
	servedReported, storeReported bool
}

// omission describes an answer that does not show what the instance serves.
func (p *progress) omission() string {
	return fmt.Sprintf("its answer leaves out %d datasets, of which this may be one, because its release does not answer for one dataset; "+
		"its /v1/status has them all", p.omitted)
}

// instance returns the progress of an instance. It adds an unknown instance.
func (w *waiting) instance(id process) *progress {
	p := w.instances[id]
	if p == nil {
		p = &progress{}
		w.instances[id] = p
	}
	return p
}

// answered returns the progress of the instance with the status s.
func (w *waiting) answered(s Status) *progress {
	id := process{s.Instance, s.Host, s.PID, runOf(s)}
	unknown := process{s.Instance, s.Host, s.PID, ""}
	if early := w.instances[unknown]; early != nil && w.instances[id] == nil && unknown != id {
		// A report arrived before the first answer, without the run.
		delete(w.instances, unknown)
		w.instances[id] = early
	}
	return w.instance(id)
}

// reporter returns the progress of the instance that sent r. A report of a release up to v0.2 lacks the run: it counts for the
// run that answered last.
func (w *waiting) reporter(r Report) *progress {
	id := process{r.Instance, r.Host, r.PID, r.Run}
	if r.Run != "" {
		return w.instance(id)
	}
	var last *progress
	for other, p := range w.instances {
		if other.isRunOf(id) && (last == nil || p.missed < last.missed) {
			last = p
		}
	}
	if last != nil {
		return last
	}
	return w.instance(id)
}

// removeGone removes the instances that are gone, and reports those that did not serve the version.
func (w *waiting) removeGone() {
	for id, p := range w.instances {
		if p.missed < goneAfter {
			continue
		}
		delete(w.instances, id)
		if p.served {
			continue
		}
		reason := "the instance is gone"
		for other := range w.instances {
			if other.isRunOf(id) {
				reason = "the instance was started again"
			}
		}
		w.want.OnReport(Report{
			Instance: id.instance, Host: id.host, PID: id.pid, Dataset: w.want.Dataset, Version: w.want.Version.Version, ID: w.want.Version.ID, Error: reason,
		})
	}
}
