package fleet

import (
	"fmt"
	"strconv"

	"freshet.dev/pkg/dataset"
)

// process tells instances apart, of which two may have one name.
type process struct {
	instance string
	host     string
	pid      int
	// run tells the processes apart that have the same name, host and number one after the other: [Status].Run, or the time of
	// the start as releases up to v0.2 send it. It is empty in reports of those releases.
	run string
}

// runOf returns what tells the run of s from others.
func runOf(s Status) string {
	if s.Run == "" && !s.Started.IsZero() {
		return "started " + strconv.FormatInt(s.Started.UnixNano(), 10)
	}
	return s.Run
}

// isRunOf reports whether p and q have the same name, host and number.
func (p process) isRunOf(q process) bool {
	p.run, q.run = "", ""
	return p == q
}

// progress is how far an instance is.
type progress struct {
	version Report          // of the last version that it is known to serve
	state   State           // empty if no survey had its answer
	store   dataset.StoreID // that it reads; zero if it does not say
	omitted int             // datasets that its last answer left out; the one waited for may be one of them
	served  bool
	told    bool   // OnLine has a report that the instance serves the version
	err     string // of the last refresh that failed
	missed  int    // surveys in a row
	// saidForeign is true once OnLine has a report that the instance reads another store.
	saidForeign bool
}

// leftOut says that the instance's answer does not say what it serves.
func (p *progress) leftOut() string {
	return fmt.Sprintf("its answer leaves out %d datasets, of which this may be one, because its release does not answer for one dataset; "+
		"its /v1/status has them all", p.omitted)
}

// instance returns the progress of an instance, which is new if it is not known.
func (w *waiting) instance(who process) *progress {
	p := w.instances[who]
	if p == nil {
		p = &progress{}
		w.instances[who] = p
	}
	return p
}

// answered returns the progress of the instance with the status s.
func (w *waiting) answered(s Status) *progress {
	who := process{s.Instance, s.Host, s.PID, runOf(s)}
	unknown := process{s.Instance, s.Host, s.PID, ""}
	if early := w.instances[unknown]; early != nil && w.instances[who] == nil && unknown != who {
		// A report came before the first answer, and did not say of which run it is.
		delete(w.instances, unknown)
		w.instances[who] = early
	}
	return w.instance(who)
}

// reporter returns the progress of the instance that sent r. A report of a release up to v0.2 does not name the run: it is of
// the run that answered last.
func (w *waiting) reporter(r Report) *progress {
	who := process{r.Instance, r.Host, r.PID, r.Run}
	if r.Run != "" {
		return w.instance(who)
	}
	var last *progress
	for other, p := range w.instances {
		if other.isRunOf(who) && (last == nil || p.missed < last.missed) {
			last = p
		}
	}
	if last != nil {
		return last
	}
	return w.instance(who)
}

// leave forgets the instances that are gone.
func (w *waiting) leave() {
	for who, p := range w.instances {
		if p.missed < goneAfter {
			continue
		}
		delete(w.instances, who)
		if p.served {
			continue
		}
		why := "the instance is gone"
		for other := range w.instances {
			if other.isRunOf(who) {
				why = "the instance was started again"
			}
		}
		w.want.OnLine(Report{
			Instance: who.instance, Host: who.host, PID: who.pid, Dataset: w.want.Dataset, Version: w.want.Version.Version, ID: w.want.Version.ID, Error: why,
		})
	}
}
