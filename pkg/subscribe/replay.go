package subscribe

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// keptReplays bounds the replays that an instance remembers, so that it answers a repeated request with the result of the first.
const keptReplays = 64

// replays are the replays that were requested of the instance.
type replays struct {
	s *Subscriber

	mu    sync.Mutex // guards the fields below, and those of all tasks
	tasks map[string]*replayTask
	ids   []string // of tasks, the oldest first
}

func newReplays(s *Subscriber) *replays {
	return &replays{s: s, tasks: make(map[string]*replayTask)}
}

// replayTask is a replay that has begun. The fields below request are guarded by replays.mu.
type replayTask struct {
	of      *replays
	request fleet.ReplayRequest

	began     time.Time
	duration  time.Duration         // until the end; 0 before
	result    *refresh.ReplayResult // of the engine; nil before
	callbacks int                   // that got the version
	waits     int                   // for so many of them
	failed    error                 // of the first callback that panicked
	retried   error                 // the last failed try
}

// request begins a replay, or reports on the replay with that id. A replay that failed is tried again at another attempt. request does not
// wait.
func (r *replays) request(q fleet.ReplayRequest) fleet.ReplayReport {
	if r.s.datasets[q.Dataset] == nil {
		return fleet.ReplayReport{State: fleet.ReplayRefused, Error: r.s.unknown(q.Dataset).Error()}
	}
	r.mu.Lock()
	t := r.tasks[q.ID]
	if t != nil && !t.request.Same(q) {
		r.mu.Unlock()
		return fleet.ReplayReport{State: fleet.ReplayRefused, Error: fmt.Sprintf("the request id %s is that of another replay; draw a new one", q.ID)}
	}
	if t != nil {
		report := t.report()
		if ended := report.State == fleet.ReplayFailed || report.State == fleet.ReplayRefused; !ended || t.request.Attempt == q.Attempt {
			report.Repeated = report.State == fleet.ReplayDone && t.request.Attempt != q.Attempt
			r.mu.Unlock()
			return report
		}
	}
	t = &replayTask{of: r, request: q, began: time.Now()}
	kept := r.keep(t)
	r.mu.Unlock()
	if !kept {
		return fleet.ReplayReport{State: fleet.ReplayRefused, Error: fmt.Sprintf("%d replays are in progress; retry when one has ended", keptReplays)}
	}
	err := r.s.engine.Replay(refresh.Replay{
		ID: q.ID, Dataset: q.Dataset, Version: dataset.Ref{Version: q.Version, ID: q.VersionID}, From: q.From, Full: q.Full,
		Ended: t.ended, Failed: t.failedOnce,
	})
	if err != nil {
		t.ended(refresh.ReplayResult{Err: fmt.Errorf("%w: %w", refresh.ErrNoReplay, err)})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.report()
}

// keep remembers t in the place of an earlier task with its id, or of the oldest that has ended. It reports false if none has ended.
func (r *replays) keep(t *replayTask) bool {
	id := t.request.ID
	if r.tasks[id] == nil {
		if len(r.ids) == keptReplays && !r.forgetOne() {
			return false
		}
		r.ids = append(r.ids, id)
	}
	r.tasks[id] = t
	return true
}

func (r *replays) forgetOne() bool {
	for i, id := range r.ids {
		if r.tasks[id].report().State.Ended() {
			delete(r.tasks, id)
			r.ids = append(r.ids[:i:i], r.ids[i+1:]...)
			return true
		}
	}
	return false
}

// signal passes the replay with the id to the dataset's callbacks.
func (r *replays) signal(id string, d *Dataset, swap *pendingSwap) {
	r.mu.Lock()
	t := r.tasks[id]
	r.mu.Unlock()
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if t != nil {
		t.passed(len(d.callbacks))
		swap.replays = []*replayTask{t}
	}
	for _, f := range d.followers {
		f.signal(&pendingSwap{to: swap.to})
	}
	for _, c := range d.callbacks {
		c.newest, c.pending = swap.to, c.pending.then(new(*swap))
		if c.behind.IsZero() {
			c.behind = time.Now()
		}
		c.wake.Set()
	}
}

// passed records that callbacks got the version.
func (t *replayTask) passed(callbacks int) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.callbacks, t.waits = callbacks, callbacks
}

// called records that a callback has returned, or panicked with err.
func (t *replayTask) called(err error) {
	t.of.mu.Lock()
	t.waits--
	if t.failed == nil {
		t.failed = err
	}
	t.end()
}

// failedOnce records an attempt that failed and will be retried.
func (t *replayTask) failedOnce(err error) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.retried = err
}

// ended records the result of the engine.
func (t *replayTask) ended(result refresh.ReplayResult) {
	t.of.mu.Lock()
	t.result = &result
	t.end()
}

// end unlocks the mutex, and logs the replay if it has ended now.
func (t *replayTask) end() {
	report := t.report()
	if !report.State.Ended() || t.duration > 0 {
		t.of.mu.Unlock()
		return
	}
	t.duration = max(time.Since(t.began), 1)
	t.of.mu.Unlock()
	s, q := t.of.s, t.request
	log := s.cfg.Log.With("dataset", q.Dataset, "version", report.Version, "full", report.Full, "callbacks", report.Callbacks, "seconds", t.duration.Seconds(),
		"request", q.ID, "by", q.By, "reason", q.Reason)
	if report.State == fleet.ReplayDone {
		log.Info("replayed the version")
		return
	}
	log.Warn("the version was not replayed", "state", report.State, "error", report.Error)
}

// report returns how far the replay is. The caller holds the mutex.
func (t *replayTask) report() fleet.ReplayReport {
	report := fleet.ReplayReport{State: fleet.ReplayWorking, Callbacks: t.callbacks, Duration: t.duration}
	if t.duration == 0 {
		report.Duration = time.Since(t.began)
	}
	switch {
	case t.result == nil:
		report.Error = "the version waits to be pulled, or is being pulled"
		if t.retried != nil {
			report.Error = "the last try failed, and another follows: " + t.retried.Error()
		}
		return report
	case t.result.Err != nil:
		report.State, report.Error = fleet.ReplayFailed, t.result.Err.Error()
		if errors.Is(t.result.Err, refresh.ErrNoReplay) {
			report.State, report.Error = fleet.ReplayRefused, strings.TrimPrefix(report.Error, refresh.ErrNoReplay.Error()+": ")
		}
		if v := t.of.s.datasets[t.request.Dataset].current.Load(); v != nil {
			report.Version, report.ID = v.Record.Version, v.ID
		}
		return report
	}
	report.Version, report.ID = t.result.Version.Version, t.result.Version.ID
	report.Full, report.PulledBytes, report.Deltas = t.result.Pull.Full, t.result.Pull.Bytes, t.result.Pull.Deltas
	switch {
	case t.failed != nil:
		report.State, report.Error = fleet.ReplayFailed, t.failed.Error()
	case t.waits > 0:
		report.Error = fmt.Sprintf("%d of %d callbacks have not returned", t.waits, t.callbacks)
	default:
		report.State = fleet.ReplayDone
	}
	return report
}
