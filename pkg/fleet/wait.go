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
	// Behind lists the instances that do not serve the version, sorted, each with its state and the version that it serves:
	// "api-1 (refreshing, serves 6 (0123456789ab))". It is empty if no survey succeeded.
	Behind []string
	Err    error // ctx's error, and that of the last survey if it failed
}

// maxNamed bounds the number of instances in the message of a BehindError.
const maxNamed = 10

func (e *BehindError) Error() string {
	instances := "no instance could be queried"
	if len(e.Behind) > 0 {
		instances = strings.Join(e.Behind[:min(len(e.Behind), maxNamed)], ", ")
		if more := len(e.Behind) - maxNamed; more > 0 {
			instances += fmt.Sprintf(" and %d more", more)
		}
	}
	return fmt.Sprintf("version %s of %s is not served by: %s: %v", e.Version, e.Dataset, instances, e.Err)
}

func (e *BehindError) Unwrap() error { return e.Err }

// surveyInterval is the period of surveys while an instance is behind. They detect instances that started or stopped, and
// make up for lost reports.
const surveyInterval = time.Second

// goneAfter is the number of surveys in a row that an instance must miss to count as gone. It may miss one because of a short
// overload.
const goneAfter = 2

// Wait configures WaitServed.
type Wait struct {
	Namespace string
	Dataset   string
	// Version is the version to wait for. Without an id every version with that number counts.
	Version dataset.Ref
	// Store and Created are those of the version's record; zero if unknown. Created identifies the version on an instance whose
	// release reports no ids.
	Store   dataset.StoreID
	Created time.Time
	// Newer reports whether the version of r, which has a higher number, follows Version in the store's history. r has no ID
	// if the instance's release reports none. If Newer is nil, every higher number counts.
	Newer func(r Report) bool
	// OnReport, if not nil, is called on the goroutine of WaitServed's caller:
	//
	//   - once for each instance, when it serves the version,
	//   - with an Error for each failed refresh, for each instance that is gone, and for each that reads another store,
	//   - with an Error and without an Instance if the status of an instance is unreadable.
	OnReport func(r Report)
}

// WaitServed waits until every live instance of the namespace that has the dataset serves the version or a later one. No
// instance at all is not an error. If ctx ends first, the error is a [*BehindError], which names the instances that do not serve
// the version.
//
//   - The same number with another id is another version. An instance whose release reports no ids serves the version if it
//     reports the version's number and, where both are known, its commit time.
//   - A version in the state [Diverged] does not count.
//   - WaitServed also waits for instances that start or restart during the wait, also if a restarted one has the same name, host
//     and process id as before.
//   - It waits for an instance of a release up to v0.2 whose answer omits datasets, possibly this one, until the instance reports
//     the version.
//   - It waits for an instance that reads another store, and so does not serve the version.
//   - It does not wait for an instance that is pinned to an older version, or to another version with the number. OnReport names it with
//     an Error and the state [Pinned], once.
func WaitServed(ctx context.Context, nc *nats.Conn, wait Wait) error {
	fail := func(err error) error {
		return fmt.Errorf("wait for version %s of %s to be served: %w", wait.Version, wait.Dataset, err)
	}
	if err := dataset.CheckName(wait.Dataset); err != nil {
		return fail(err)
	}
	if wait.OnReport == nil {
		wait.OnReport = func(Report) {}
	}
	w := waiting{want: wait, instances: map[process]*progress{}}
	// Before the first survey, so that the wait misses no change after it.
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
		if ctx.Err() == nil { // an error due to the end of ctx would hide the last one
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

// answered reports whether a survey with the error err has the status of every instance with a readable one.
func answered(err error) bool { return err == nil || errors.Is(err, ErrUnreadable) }

// waiting is the state of one WaitServed.
type waiting struct {
	want               Wait
	instances          map[process]*progress
	surveyErr          error
	unreadableReported bool
}

// surveyed handles the answers of all instances. An answer is later than every report handled before, and replaces it.
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
			Instance: s.Instance, Host: s.Host, PID: s.PID, Run: s.Run, Labels: s.Labels, Dataset: w.want.Dataset, Version: d.Version, ID: d.ID,
			PulledBytes: d.LastPull.Bytes, Full: d.LastPull.Full, Deltas: d.LastPull.Deltas, Fallback: d.LastPull.Fallback,
			Duration: d.LastPull.Duration, Created: d.Created, Served: d.Served,
		}
		reason := d.Error
		if reason == "" && d.State == Quarantined {
			reason = d.Warning // the instance does not load that version, or another one
		}
		if ok {
			p.version = r
			p.served = d.State != Diverged && w.isServed(r)
			w.reportServed(p, r)
			w.setPinned(p, r, d.Pin)
		} else if p.omitted = s.Omitted; !p.served { // only its reports can show what it serves
			reason = p.omission()
		}
		r.Version, r.ID = w.want.Version.Version, w.want.Version.ID
		if r.Error = reason; reason != "" {
			w.failed(p, r)
		}
		w.reportStore(p, r)
	}
	w.removeGone()
}

// unreadable reports, once, that there are instances with an unreadable status.
func (w *waiting) unreadable(err error) {
	if !w.unreadableReported {
		w.unreadableReported = true
		w.want.OnReport(Report{Dataset: w.want.Dataset, Version: w.want.Version.Version, ID: w.want.Version.ID, Error: err.Error()})
	}
}

// follow handles reports until the next survey is due, all known instances serve the version, or ctx ends.
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
			continue // other reports have the version that the instance serves in that state
		}
		p := w.reporter(r)
		p.missed = 0
		if r.Error == "" {
			if !r.Served.IsZero() && r.Served.Before(p.version.Served) {
				continue // the answer to the survey is later, and may be of a later run
			}
			p.version = r
			p.served = p.served || w.isServed(r)
			w.reportServed(p, r)
		} else if r.Version >= w.want.Version.Version {
			w.failed(p, r)
		}
		if answered(w.surveyErr) && w.done() {
			return nil // the caller surveys once more, for instances that have started in the meantime
		}
	}
}

// reportServed calls OnReport once for an instance that serves the version, with the report of the version that it serves.
func (w *waiting) reportServed(p *progress, r Report) {
	if p.served && !p.servedReported {
		p.servedReported = true
		w.want.OnReport(r)
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
	// The instance's release reports no ids. The commit time distinguishes versions with the same number.
	return r.Created.IsZero() || w.want.Created.IsZero() || r.Created.Equal(w.want.Created)
}

// readsOtherStore reports whether the instance reads another store than that of the version.
func (w *waiting) readsOtherStore(p *progress) bool {
	return !p.store.IsZero() && !w.want.Store.IsZero() && p.store != w.want.Store
}

// failed records and reports why the instance does not serve the version. It reports the same reason only once.
func (w *waiting) failed(p *progress, r Report) {
	if !p.served && p.err != r.Error {
		p.err = r.Error
		w.want.OnReport(r)
	}
}

// reportStore calls OnReport once for an instance that reads another store.
func (w *waiting) reportStore(p *progress, r Report) {
	if !p.served && !p.storeReported && w.readsOtherStore(p) {
		p.storeReported = true
		r.Error = fmt.Sprintf("it reads another store (%s)", p.store)
		w.want.OnReport(r)
	}
}

// setPinned records that the instance is pinned to another version, and reports it once for each pin.
func (w *waiting) setPinned(p *progress, r Report, pin *dataset.Pin) {
	want := w.want.Version
	if !pinnedBelow(pin, want) {
		pin = nil
	}
	before := p.pinned
	if p.pinned = pin; pin == nil || p.served || before != nil && before.Entry == pin.Entry {
		return
	}
	r.Version, r.ID, r.State = want.Version, want.ID, Pinned
	r.Error = fmt.Sprintf("it is pinned to version %s and the wait goes on without it", pin.Ref())
	if pin.Reason != "" {
		r.Error += ": " + pin.Reason
	}
	w.want.OnReport(r)
}

func (w *waiting) done() bool {
	for _, p := range w.instances {
		if !p.served && p.pinned == nil {
			return false
		}
	}
	return true
}

func (w *waiting) behind(ctx context.Context) error {
	e := &BehindError{Dataset: w.want.Dataset, Version: w.want.Version, Err: context.Cause(ctx)}
	named := map[string]int{} // the number of instances with a name
	for id := range w.instances {
		named[id.instance]++
	}
	for id, p := range w.instances {
		if p.served || p.pinned != nil {
			continue
		}
		text := w.describe(p)
		if named[id.instance] > 1 {
			text = fmt.Sprintf("process %d on %s, %s", id.pid, id.host, text)
		}
		e.Behind = append(e.Behind, fmt.Sprintf("%s (%s)", id.instance, text))
	}
	slices.Sort(e.Behind)
	if w.surveyErr != nil {
		e.Err = fmt.Errorf("%w; %w", e.Err, w.surveyErr)
	}
	return e
}

// describe describes the progress of an instance that does not serve the version.
func (w *waiting) describe(p *progress) string {
	var all []string
	if p.state != "" {
		all = append(all, string(p.state))
	}
	if p.omitted > 0 && p.version.Version == 0 {
		return p.omission()
	}
	all = append(all, "serves "+dataset.Ref{Version: p.version.Version, ID: p.version.ID}.String())
	if p.version.ID.IsZero() && p.version.Version >= w.want.Version.Version && p.version.Version > 0 {
		all = append(all, "reports no id, and nothing proves that this is a version of the store")
	}
	if w.readsOtherStore(p) {
		all = append(all, fmt.Sprintf("reads another store (%s)", p.store))
	}
	if p.err != "" {
		all = append(all, "last error: "+p.err)
	}
	return strings.Join(all, ", ")
}
