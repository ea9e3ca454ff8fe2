package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

// BehindError is returned by WaitServed when ctx ends before every instance serves the version.
type BehindError struct {
	Dataset string
	Version dataset.Ref
	// Behind are the instances that do not serve the version, sorted, each with why: "api-1 (serves 6)". It is empty
	// if no survey succeeded.
	Behind []string
	Err    error // ctx's, and the last error of a survey if that failed
}

func (e *BehindError) Error() string {
	who := "no instance could be asked"
	if len(e.Behind) > 0 {
		who = strings.Join(e.Behind, ", ")
	}
	return fmt.Sprintf("version %s of %s is not served by: %s: %v", e.Version, e.Dataset, who, e.Err)
}

func (e *BehindError) Unwrap() error { return e.Err }

// surveyInterval is how often the wait asks again while someone is behind: for instances that came or went, and for
// lost reports.
const surveyInterval = time.Second

// goneAfter is how many surveys in a row an instance must miss to be taken for gone. One may be missed for a moment's
// load.
const goneAfter = 2

// WaitServed waits until every live instance of the namespace that has the dataset serves the version or a later one. A version with the same
// number and another id is another version; one that is served by an instance that says that it is diverged does not count.
// Whether a version with a higher number is a later one is for newer to say; if newer is nil, it is. It calls onLine,
// if not nil, on the caller's goroutine, with one report for each instance as it gets there, and one with an Error
// for each refresh that failed and for each instance that is gone. An instance that comes up meanwhile is waited for
// too; there being none is no error. One whose status is not readable cannot be waited for: that is one report with an
// Error and no Instance. If ctx ends first the error is a [*BehindError] that names who is behind.
func WaitServed(ctx context.Context, nc *nats.Conn, namespace, name string, version dataset.Ref, newer func(dataset.Ref) bool, onLine func(Report)) error {
	fail := func(err error) error {
		return fmt.Errorf("wait for version %s of %s to be served: %w", version, name, err)
	}
	if err := dataset.CheckName(name); err != nil {
		return fail(err)
	}
	if onLine == nil {
		onLine = func(Report) {}
	}
	w := waiting{dataset: name, ref: version, version: version.Version, newer: newer, onLine: onLine, instances: map[process]*progress{}}
	// Before the first survey, so that an instance is seen by the one or the other.
	reports, err := WatchReports(ctx, nc, namespace, name)
	if err != nil {
		return fail(err)
	}
	defer reports.Close()
	for {
		all, err := survey(ctx, nc, SurveyOptions{Namespace: namespace})
		if answered(err) || errors.Is(err, ErrNoAnswer) {
			w.surveyed(all)
		}
		if errors.Is(err, ErrUnreadable) {
			w.unreadable(err)
		}
		if ctx.Err() == nil { // what failed for the end of ctx says nothing
			w.surveyErr = err
		}
		if answered(err) && w.done() {
			return nil
		}
		if err := w.follow(ctx, reports); err != nil {
			return fail(err)
		}
		if ctx.Err() != nil {
			return w.behind(ctx)
		}
	}
}

// answered says whether a survey that ended with err has the status of every instance that has a readable one.
func answered(err error) bool { return err == nil || errors.Is(err, ErrUnreadable) }

// process tells instances apart, of which two may have one name.
type process struct {
	instance string
	host     string
	pid      int
}

// progress is how far an instance is.
type progress struct {
	version uint64
	served  bool
	err     string // of the last refresh that failed
	missed  int    // surveys in a row
}

// waiting is the state of one WaitServed.
type waiting struct {
	dataset        string
	ref            dataset.Ref
	version        uint64 // of ref
	newer          func(dataset.Ref) bool
	onLine         func(Report)
	instances      map[process]*progress
	surveyErr      error
	saidUnreadable bool // that an instance's status is not readable
}

// surveyed takes in the answers of all instances.
func (w *waiting) surveyed(all []Status) {
	for _, p := range w.instances {
		p.missed++
	}
	for _, s := range all {
		d, ok := s.Dataset(w.dataset)
		if !ok {
			continue
		}
		p := w.instance(process{s.Instance, s.Host, s.PID})
		p.missed = 0
		r := Report{
			Instance: s.Instance, Host: s.Host, PID: s.PID, Dataset: w.dataset, Version: d.Version,
			PulledBytes: d.LastPull.Bytes, Full: d.LastPull.Full, Deltas: d.LastPull.Deltas, GaveUp: d.LastPull.GaveUp,
			Duration: d.LastPull.Duration, Created: d.Created, Served: d.Served,
		}
		r.ID = d.ID
		if d.State != Diverged {
			w.reached(p, r)
		}
		why := d.Error
		if why == "" && d.State == Quarantined {
			why = d.Warning // that version, or another one, is not loaded
		}
		if why != "" && d.Version < w.version {
			r.Version, r.Error = w.version, why
			w.failed(p, r)
		}
	}
	for who, p := range w.instances {
		if p.missed < goneAfter {
			continue
		}
		delete(w.instances, who)
		if !p.served {
			w.onLine(Report{Instance: who.instance, Host: who.host, PID: who.pid, Dataset: w.dataset, Version: w.version, Error: "the instance is gone"})
		}
	}
}

// unreadable notes that there are instances of which nothing is known. It is said once.
func (w *waiting) unreadable(err error) {
	if !w.saidUnreadable {
		w.saidUnreadable = true
		w.onLine(Report{Dataset: w.dataset, Version: w.version, Error: err.Error()})
	}
}

// follow takes in reports until the next survey is due, or until all that are known serve the version, or ctx ends.
func (w *waiting) follow(ctx context.Context, reports *Reports) error {
	until, cancel := context.WithTimeout(ctx, surveyInterval)
	defer cancel()
	for {
		r, err := reports.Next(until)
		if until.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Kind == OfState {
			continue // its version is the one that is served in that state, and its own reports tell of that
		}
		p := w.instance(process{r.Instance, r.Host, r.PID})
		p.missed = 0
		if r.Error == "" {
			w.reached(p, r)
		} else if r.Version >= w.version {
			w.failed(p, r)
		}
		if answered(w.surveyErr) && w.done() {
			return nil // and one more survey, for those who came meanwhile
		}
	}
}

func (w *waiting) instance(who process) *progress {
	p := w.instances[who]
	if p == nil {
		p = &progress{}
		w.instances[who] = p
	}
	return p
}

// reached notes which version the instance serves.
func (w *waiting) reached(p *progress, r Report) {
	p.version = max(p.version, r.Version)
	if !p.served && w.isServed(r) {
		p.served = true
		w.onLine(r)
	}
}

// isServed reports whether an instance that serves the version of r serves the version waited for, or a later one.
func (w *waiting) isServed(r Report) bool {
	switch {
	case r.Version == w.version:
		return r.ID == w.ref.ID || r.ID.IsZero() || w.ref.ID.IsZero() // an instance of an earlier release names no id
	case r.Version > w.version:
		return w.newer == nil || r.ID.IsZero() || w.newer(dataset.Ref{Version: r.Version, ID: r.ID})
	}
	return false
}

// failed notes why the instance does not serve the version. The same reason twice is one line.
func (w *waiting) failed(p *progress, r Report) {
	if !p.served && p.err != r.Error {
		p.err = r.Error
		w.onLine(r)
	}
}

func (w *waiting) done() bool {
	for _, p := range w.instances {
		if !p.served {
			return false
		}
	}
	return true
}

func (w *waiting) behind(ctx context.Context) error {
	e := &BehindError{Dataset: w.dataset, Version: w.ref, Err: context.Cause(ctx)}
	named := map[string]int{} // how many have the name
	for who := range w.instances {
		named[who.instance]++
	}
	for who, p := range w.instances {
		if p.served {
			continue
		}
		text := fmt.Sprintf("serves %d", p.version)
		if named[who.instance] > 1 {
			text = fmt.Sprintf("process %d on %s, %s", who.pid, who.host, text)
		}
		if p.err != "" {
			text += ", last error: " + p.err
		}
		e.Behind = append(e.Behind, fmt.Sprintf("%s (%s)", who.instance, text))
	}
	slices.Sort(e.Behind)
	if w.surveyErr != nil {
		e.Err = fmt.Errorf("%w; %w", e.Err, w.surveyErr)
	}
	return e
}
