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
	// Behind are the instances that do not serve the version, sorted, each with its state and the version that it serves:
	// "api-1 (refreshing, serves 6 (0123456789ab))". It is empty if no survey succeeded.
	Behind []string
	Err    error // ctx's, and the last error of a survey if that failed
}

// maxNamed is how many instances the message of a BehindError names.
const maxNamed = 10

func (e *BehindError) Error() string {
	who := "no instance could be asked"
	if len(e.Behind) > 0 {
		who = strings.Join(e.Behind[:min(len(e.Behind), maxNamed)], ", ")
		if more := len(e.Behind) - maxNamed; more > 0 {
			who += fmt.Sprintf(" and %d more", more)
		}
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

// Wait says which version WaitServed waits for.
type Wait struct {
	Namespace string
	Dataset   string
	// Version is the version. Without an id every version of that number counts.
	Version dataset.Ref
	// Store and Created are those of the version's record; zero if they are not known. Created identifies the version that an
	// instance serves whose release reports no ids.
	Store   dataset.StoreID
	Created time.Time
	// Newer reports whether the version of r, which has a higher number, follows Version in the store's history. r has no ID
	// if the instance's release reports none. If Newer is nil, every higher number counts.
	Newer func(r Report) bool
	// OnLine, if not nil, takes one report for each instance as it comes to serve the version. It takes a report with an Error
	// for each refresh that failed, for each instance that is gone, and for each that reads another store. A report with an Error
	// and no Instance is about instances whose status is not readable. WaitServed calls it on its caller's goroutine.
	OnLine func(r Report)
}

// WaitServed waits until every live instance of the namespace that has the dataset serves the version or a later one. The same
// number with another id is another version. An instance of a release that reports no ids serves the version if it reports
// its number and, where both are known, its commit time. A version that an instance serves in the state [Diverged] does not count.
//
// An instance that restarts is waited for again, also if it has the same name, host and process number as before. An instance of
// a release up to v0.2 whose answer leaves datasets out, and not this one for certain, is waited for until it reports the
// version. An instance that comes up during the wait is waited for too; no instance at all is no error. An instance that reads another
// store is waited for: it does not serve the version. If ctx ends first the error is a [*BehindError], which names the
// instances that do not serve the version.
func WaitServed(ctx context.Context, nc *nats.Conn, wait Wait) error {
	fail := func(err error) error {
		return fmt.Errorf("wait for version %s of %s to be served: %w", wait.Version, wait.Dataset, err)
	}
	if err := dataset.CheckName(wait.Dataset); err != nil {
		return fail(err)
	}
	if wait.OnLine == nil {
		wait.OnLine = func(Report) {}
	}
	w := waiting{want: wait, instances: map[process]*progress{}}
	// Before the first survey, so that an instance is seen by the one or the other.
	reports, err := WatchReports(ctx, nc, wait.Namespace, wait.Dataset)
	if err != nil {
		return fail(err)
	}
	defer reports.Close()
	for {
		all, err := survey(ctx, nc, SurveyOptions{Namespace: wait.Namespace, Dataset: wait.Dataset})
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

// waiting is the state of one WaitServed.
type waiting struct {
	want           Wait
	instances      map[process]*progress
	surveyErr      error
	saidUnreadable bool // that an instance's status is not readable
}

// surveyed takes in the answers of all instances. Each is later than every report that was taken in before: what an instance
// says that it serves replaces what was known.
func (w *waiting) surveyed(all []Status) {
	for _, p := range w.instances {
		p.missed++
	}
	for _, s := range all {
		d, ok := s.Dataset(w.want.Dataset)
		if !ok && s.Omitted == 0 {
			continue
		}
		p := w.answered(s)
		p.missed, p.state, p.store, p.omitted = 0, d.State, s.Store, 0
		r := Report{
			Instance: s.Instance, Host: s.Host, PID: s.PID, Run: s.Run, Dataset: w.want.Dataset, Version: d.Version, ID: d.ID,
			PulledBytes: d.LastPull.Bytes, Full: d.LastPull.Full, Deltas: d.LastPull.Deltas, GaveUp: d.LastPull.GaveUp,
			Duration: d.LastPull.Duration, Created: d.Created, Served: d.Served,
		}
		why := d.Error
		if why == "" && d.State == Quarantined {
			why = d.Warning // that version, or another one, is not loaded
		}
		if ok {
			p.version = r
			p.served = d.State != Diverged && w.isServed(r)
			w.tell(p, r)
		} else if p.omitted = s.Omitted; !p.served { // its reports alone say what it serves
			why = p.leftOut()
		}
		r.Version, r.ID = w.want.Version.Version, w.want.Version.ID
		if r.Error = why; why != "" {
			w.failed(p, r)
		}
		w.foreign(p, r)
	}
	w.leave()
}

// unreadable notes that there are instances of which nothing is known. It is said once.
func (w *waiting) unreadable(err error) {
	if !w.saidUnreadable {
		w.saidUnreadable = true
		w.want.OnLine(Report{Dataset: w.want.Dataset, Version: w.want.Version.Version, ID: w.want.Version.ID, Error: err.Error()})
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
		p := w.reporter(r)
		p.missed = 0
		if r.Error == "" {
			if !r.Served.IsZero() && r.Served.Before(p.version.Served) {
				continue // the survey's answer is later, and may be of a later run
			}
			p.version = r
			p.served = p.served || w.isServed(r)
			w.tell(p, r)
		} else if r.Version >= w.want.Version.Version {
			w.failed(p, r)
		}
		if answered(w.surveyErr) && w.done() {
			return nil // and one more survey, for those who came meanwhile
		}
	}
}

// tell calls OnLine once for an instance that serves the version, with the report of the version that it serves.
func (w *waiting) tell(p *progress, r Report) {
	if p.served && !p.told {
		p.told = true
		w.want.OnLine(r)
	}
}

// isServed reports whether an instance that serves the version of r serves the version waited for, or a later one.
func (w *waiting) isServed(r Report) bool {
	switch want := w.want.Version; {
	case r.Version < want.Version:
		return false
	case r.Version > want.Version:
		return w.want.Newer == nil || w.want.Newer(r)
	case !r.ID.IsZero() && !want.ID.IsZero():
		return r.ID == want.ID
	}
	// The instance's release reports no ids. Its commit time tells versions of one number apart.
	return r.Created.IsZero() || w.want.Created.IsZero() || r.Created.Equal(w.want.Created)
}

// isForeign reports whether the instance reads another store than that of the version.
func (w *waiting) isForeign(p *progress) bool {
	return !p.store.IsZero() && !w.want.Store.IsZero() && p.store != w.want.Store
}

// failed notes why the instance does not serve the version. The same reason twice is one line.
func (w *waiting) failed(p *progress, r Report) {
	if !p.served && p.err != r.Error {
		p.err = r.Error
		w.want.OnLine(r)
	}
}

// foreign warns once of an instance that reads another store.
func (w *waiting) foreign(p *progress, r Report) {
	if !p.served && !p.saidForeign && w.isForeign(p) {
		p.saidForeign = true
		r.Error = fmt.Sprintf("it reads another store (%s)", p.store)
		w.want.OnLine(r)
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
	e := &BehindError{Dataset: w.want.Dataset, Version: w.want.Version, Err: context.Cause(ctx)}
	named := map[string]int{} // how many have the name
	for who := range w.instances {
		named[who.instance]++
	}
	for who, p := range w.instances {
		if p.served {
			continue
		}
		text := w.describe(p)
		if named[who.instance] > 1 {
			text = fmt.Sprintf("process %d on %s, %s", who.pid, who.host, text)
		}
		e.Behind = append(e.Behind, fmt.Sprintf("%s (%s)", who.instance, text))
	}
	slices.Sort(e.Behind)
	if w.surveyErr != nil {
		e.Err = fmt.Errorf("%w; %w", e.Err, w.surveyErr)
	}
	return e
}

// describe says how far an instance is that does not serve the version.
func (w *waiting) describe(p *progress) string {
	var all []string
	if p.state != "" {
		all = append(all, string(p.state))
	}
	if p.omitted > 0 && p.version.Version == 0 {
		return p.leftOut()
	}
	all = append(all, "serves "+dataset.Ref{Version: p.version.Version, ID: p.version.ID}.String())
	if p.version.ID.IsZero() && p.version.Version >= w.want.Version.Version && p.version.Version > 0 {
		all = append(all, "reports no id, and nothing proves that this is a version of the store")
	}
	if w.isForeign(p) {
		all = append(all, fmt.Sprintf("reads another store (%s)", p.store))
	}
	if p.err != "" {
		all = append(all, "last error: "+p.err)
	}
	return strings.Join(all, ", ")
}
