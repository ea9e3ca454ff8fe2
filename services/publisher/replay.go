package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/nearest"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/replay"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
)

const (
	// maxReplayBytes bounds the body of a request for a replay.
	maxReplayBytes = 64 << 10
	// maxReplays bounds the replays at a time. Each waits for instances, or sends events.
	maxReplays = 8
	// maxReplayWait bounds the wait for instances, in seconds.
	maxReplayWait = 24 * 60 * 60
)

// Replay is the body of a request for a replay. Either the instances are chosen, by one of All, Instances and Labels, or ToSubject is set.
type Replay struct {
	All       bool              `json:"all,omitempty"`
	Instances []string          `json:"instances,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// ToSubject is a NATS subject that gets the events of the versions, at most Rate a second; 0 means 100.
	ToSubject string  `json:"to_subject,omitempty"`
	Rate      float64 `json:"rate,omitempty"`
	// Version is the version that instances must serve, as number or number@id; to a subject, it is the only version.
	Version string `json:"version,omitempty"`
	// FromVersion is the version since which callbacks get the changes; to a subject, it is the first version.
	FromVersion uint64 `json:"from_version,omitempty"`
	// ToVersion is the last version; only to a subject, as Since, which selects the versions that are not older: a time, or how long ago.
	ToVersion uint64 `json:"to_version,omitempty"`
	Since     string `json:"since,omitempty"`
	// Full makes instances pull the snapshot again.
	Full bool `json:"full,omitempty"`
	// WaitSeconds bounds the wait for instances; 0 means 600.
	WaitSeconds float64 `json:"wait_seconds,omitempty"`
	DryRun      bool    `json:"dry_run,omitempty"`
	By          string  `json:"by,omitempty"`
	Reason      string  `json:"reason,omitempty"`
}

// ReplayLine is one line of the answer to a replay. It has one member: first Begun, then an instance or a count of events each, and in the
// last line the result. A line without a member says that the replay goes on.
type ReplayLine struct {
	Begun    *replay.Begun        `json:"begun,omitempty"`
	Instance *fleet.ReplayOutcome `json:"instance,omitempty"`
	Sent     *replay.Sent         `json:"sent,omitempty"`
	Result   *ReplayResult        `json:"result,omitempty"`
}

// ReplayResult is the end of a replay.
type ReplayResult struct {
	Dataset   string `json:"dataset"`
	RequestID string `json:"request_id"`
	DryRun    bool   `json:"dry_run,omitempty"`
	// Instances is how many instances were chosen, and Done how many of them have replayed; in a dry run, how many would.
	Instances int `json:"instances,omitempty"`
	Done      int `json:"done,omitempty"`
	// Sent is what a subject got.
	Sent *replay.Sent `json:"sent,omitempty"`
	// Problem is a problem document (RFC 9457) about what ended the replay early; absent if nothing did.
	Problem json.RawMessage `json:"problem,omitempty"`
}

// replay answers POST /v1/datasets/{name}/replay.
func (p *Publisher) replay(w http.ResponseWriter, r *http.Request) error {
	var in Replay
	name, id, err := readChange(w, r, maxReplayBytes, &in)
	if err != nil {
		return err
	}
	if p.replayer == nil {
		return web.Refuse(http.StatusNotImplemented, "no-nats", "this publisher has no NATS, over which instances and consumers are reached")
	}
	audit := replay.Audit{By: in.By, Reason: in.Reason, RequestID: id}
	run, err := p.replayOf(name, in, audit)
	if err != nil {
		return err
	}
	select {
	case p.replaying <- struct{}{}:
		defer func() { <-p.replaying }()
	default:
		busy := web.Refuse(http.StatusTooManyRequests, "busy", "%d replays are in progress, the most at a time; try again when one has ended", maxReplays)
		busy.RetryAfter = 10
		return busy
	}
	lines := &jsonLines{w: w, control: http.NewResponseController(w)}
	stop := func() {}
	defer func() { stop() }()
	result := ReplayResult{Dataset: name, DryRun: in.DryRun}
	begin := sync.OnceFunc(func() { lines.begin(); stop = lines.pulse() })
	err = run(r.Context(), &result, func(line ReplayLine) {
		if line.Begun != nil {
			result.RequestID = line.Begun.RequestID
			begin()
		}
		_ = lines.write(line) // if the client has left, the context of the request ends
	})
	if err != nil {
		err = p.replayProblem(r.Context(), name, err)
		if result.RequestID == "" || r.Context().Err() != nil {
			return err // nothing was sent to the client yet, or it has left
		}
		var problem *web.Problem
		if !errors.As(err, &problem) {
			problem = web.Unavailable("internal", 5, err, "the replay ended early; the publisher's log says why")
		}
		p.deps.Log.ErrorContext(r.Context(), "a replay ended early", "dataset", name, "error", err.Error())
		if result.Problem, err = json.Marshal(problem); err != nil {
			return err
		}
	}
	stop()
	return lines.write(ReplayLine{Result: &result})
}

// replayRun makes a replay, and calls line for each line but the last.
type replayRun func(ctx context.Context, result *ReplayResult, line func(ReplayLine)) error

// replayOf returns the replay that in asks for.
func (p *Publisher) replayOf(name string, in Replay, audit replay.Audit) (replayRun, error) {
	bad := func(format string, args ...any) error {
		return web.Refuse(http.StatusBadRequest, "bad-replay", format, args...).With("dataset", name)
	}
	var version uint64
	var versionID string
	var err error
	if in.Version != "" {
		if version, versionID, err = publish.ParseRef(in.Version); err != nil {
			return nil, bad("version: %v", err)
		}
	}
	selection := fleet.Selection{All: in.All, Instances: in.Instances, Labels: in.Labels}
	chosen := in.All || len(in.Instances) > 0 || len(in.Labels) > 0
	switch {
	case in.ToSubject == "" && (in.ToVersion > 0 || in.Since != "" || in.Rate != 0):
		return nil, bad("to_version, since and rate are for a replay to a subject: instances take in the version that they serve; set to_subject, or leave them out")
	case in.ToSubject != "" && (chosen || in.Full || in.WaitSeconds != 0):
		return nil, bad("a replay goes to instances or to a subject: leave out to_subject, or all, instances, labels, full and wait_seconds")
	case in.ToSubject != "" && version > 0 && (in.FromVersion > 0 || in.ToVersion > 0 || in.Since != ""):
		return nil, bad("version names the only version; leave it out, or from_version, to_version and since")
	case in.ToSubject != "" && versionID != "":
		return nil, bad("version has an id; to a subject, give its number alone")
	case !(in.WaitSeconds >= 0 && in.WaitSeconds <= maxReplayWait):
		return nil, bad("wait_seconds is %v; want at most %d", in.WaitSeconds, maxReplayWait)
	}
	if in.ToSubject == "" {
		return p.replayInstances(replay.InstancesInput{
			Dataset: name, Selection: selection, Version: version, ID: versionID, From: in.FromVersion, Full: in.Full, DryRun: in.DryRun,
			Wait: time.Duration(in.WaitSeconds * float64(time.Second)), Audit: audit,
		}), nil
	}
	to := replay.SubjectInput{
		Dataset: name, Subject: in.ToSubject, From: max(in.FromVersion, version), To: max(in.ToVersion, version), Rate: in.Rate, DryRun: in.DryRun, Audit: audit,
	}
	if in.Since != "" {
		if to.Since, err = sinceTime(in.Since); err != nil {
			return nil, err
		}
	}
	return p.replaySubject(to), nil
}

func (p *Publisher) replayInstances(in replay.InstancesInput) replayRun {
	return func(ctx context.Context, result *ReplayResult, line func(ReplayLine)) error {
		in.Begun = func(b replay.Begun) { line(ReplayLine{Begun: &b}) }
		in.Ended = func(o fleet.ReplayOutcome) { line(ReplayLine{Instance: &o}) }
		outcomes, err := p.replayer.Instances(ctx, in)
		result.Instances = len(outcomes)
		for _, o := range outcomes {
			if o.State == fleet.ReplayDone || o.State == replay.Planned {
				result.Done++
			}
			if err != nil && o.State == fleet.ReplayUnfinished {
				line(ReplayLine{Instance: &o}) // Ended was not called for it
			}
		}
		return err
	}
}

func (p *Publisher) replaySubject(in replay.SubjectInput) replayRun {
	return func(ctx context.Context, result *ReplayResult, line func(ReplayLine)) error {
		in.Begun = func(b replay.Begun) { line(ReplayLine{Begun: &b}) }
		in.Confirmed = func(s replay.Sent) { line(ReplayLine{Sent: &s}) }
		sent, err := p.replayer.Subject(ctx, in)
		result.Sent = &sent
		return err
	}
}

// replayProblem returns the problem for a replay that failed with err.
func (p *Publisher) replayProblem(ctx context.Context, name string, err error) error {
	refuse := func(status int, kind string) error {
		return web.Refuse(status, kind, "%v", err).With("dataset", name)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, replay.ErrInput), errors.Is(err, dataset.ErrEntry) && !errors.Is(err, store.ErrDamaged):
		return refuse(http.StatusBadRequest, "bad-replay")
	case errors.Is(err, replay.ErrUnknownDataset):
		return web.Refuse(http.StatusNotFound, "unknown-dataset", "%v%s", err, nearest.Hint(name, p.others(ctx, name))).With("dataset", name)
	case errors.Is(err, replay.ErrUnknownVersion):
		return refuse(http.StatusNotFound, "unknown-version")
	case errors.Is(err, replay.ErrNoInstance):
		return refuse(http.StatusNotFound, "unknown-instance")
	case errors.Is(err, replay.ErrRequestID):
		return refuse(http.StatusUnprocessableEntity, "request-id-reused")
	case errors.Is(err, replay.ErrNATS):
		return web.Unavailable("nats-unavailable", 5, err, "%v", err).With("dataset", name)
	}
	return storeProblem(name, err)
}
