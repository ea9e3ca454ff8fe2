package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
)

const (
	// defaultReplayWait bounds a Replay.
	defaultReplayWait = 10 * time.Minute
	// defaultReplaySilence is how long an instance may leave repeated requests without an answer before it counts as silent.
	defaultReplaySilence = 5 * time.Second
	// unableAfter is how long nothing may subscribe to an instance's subject before its release counts as one without replays. An instance
	// that starts answers surveys a moment earlier.
	unableAfter = time.Second
	// The pause between two requests to an instance doubles from firstReplayPause to lastReplayPause.
	firstReplayPause = 100 * time.Millisecond
	lastReplayPause  = time.Second
)

// ReplayOptions says what to replay with [Replay].
type ReplayOptions struct {
	// Namespace is the namespace of the instances.
	Namespace string
	// Request is sent to each instance, with another Attempt.
	Request ReplayRequest
	// Instances are the instances to replay, as [Survey] returns them. [Selection.Filter] chooses among them.
	Instances []Status
	// Wait bounds the whole time; 0 means 10 minutes. Instances that are still working then are unfinished, and go on.
	Wait time.Duration
	// Silence is how long an instance may leave repeated requests without an answer before it counts as silent; 0 means 5 s.
	Silence time.Duration
	// Ended, if not nil, is called for each outcome as soon as it is known, from the goroutine of the call.
	Ended func(ReplayOutcome)
}

// ReplayOutcome is what became of a replay by one instance. Its State is never [ReplayWorking].
type ReplayOutcome struct {
	// Instance, Host, PID, Run and Labels are as in the instance's [Status].
	Instance string            `json:"instance"`
	Host     string            `json:"host,omitempty"`
	PID      int               `json:"pid,omitempty"`
	Run      string            `json:"run,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	// ReplayReport is the instance's last report. If its State is one of [Replay], the other fields are those of the last report before.
	ReplayReport
}

// Replay makes the instances take the version that they serve in again, and returns one outcome for each, in the order of opts.Instances.
// An instance that does not do it is no error of Replay. The error is [ErrDisconnected], or the cause of ctx; then the outcomes are
// those so far, and the State of the others is [ReplayUnfinished]. Instances that work go on.
//
// A replay may take long, so Replay repeats its request, and the instances report how far they are.
func Replay(ctx context.Context, nc *nats.Conn, opts ReplayOptions) ([]ReplayOutcome, error) {
	opts.Request.Attempt = rand.Text()
	err := oneline.Join(dataset.CheckNamespace(opts.Namespace), opts.Request.Check())
	var request []byte
	if err == nil {
		request, err = json.Marshal(opts.Request)
	}
	if err == nil && !nc.IsConnected() {
		err = ErrDisconnected
	}
	if err != nil {
		return nil, fmt.Errorf("replay %.80s on instances: %w", opts.Request.Dataset, err)
	}
	opts.Wait, opts.Silence = cmp.Or(opts.Wait, defaultReplayWait), cmp.Or(opts.Silence, defaultReplaySilence)
	r := &replaying{ReplayOptions: opts, nc: nc, request: request, inbox: nc.NewInbox() + ".", began: time.Now()}
	for _, s := range opts.Instances {
		r.instances = append(r.instances, replayingInstance{
			ReplayOutcome: ReplayOutcome{Instance: s.Instance, Host: s.Host, PID: s.PID, Run: s.Run, Labels: s.Labels}, heard: r.began,
		})
	}
	err = r.run(ctx)
	var outcomes []ReplayOutcome
	for i := range r.instances {
		if o := &r.instances[i]; !o.State.Ended() {
			o.State = ReplayUnfinished // err says why
		}
		outcomes = append(outcomes, r.instances[i].ReplayOutcome)
	}
	if err != nil {
		return outcomes, fmt.Errorf("replay %s on instances: %w", opts.Request.Dataset, err)
	}
	return outcomes, nil
}

// replaying is the state of one Replay.
type replaying struct {
	ReplayOptions
	nc        *nats.Conn
	request   []byte
	inbox     string // the prefix of the subjects of the answers; the index of the instance follows
	began     time.Time
	instances []replayingInstance
}

// replayingInstance is the state of one instance.
type replayingInstance struct {
	ReplayOutcome
	heard    time.Time // of the last answer
	answered bool
	nobody   bool // the last answer was the server's: nothing subscribes to the subject
}

func (r *replaying) run(ctx context.Context) error {
	// The channel has room for more than the answers to one round. The next round repeats a request whose answer was dropped.
	arrived := make(chan *nats.Msg, 2*len(r.instances)+16)
	sub, err := r.nc.ChanSubscribe(r.inbox+"*", arrived)
	if err != nil {
		return fmt.Errorf("subscribe to the answers: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only if the connection is gone, and the subscription with it
	over := time.NewTimer(r.Wait)
	defer over.Stop()
	pause := firstReplayPause
	round := time.NewTimer(0)
	defer round.Stop()
	for connected := r.began; ; {
		select {
		case m := <-arrived:
			r.receive(m)
			if !r.open() {
				return nil
			}
		case <-round.C:
			now := time.Now()
			switch {
			case r.nc.IsConnected():
				connected = now
			case now.Sub(connected) > r.Silence:
				return ErrDisconnected
			}
			if err := r.send(now); err != nil {
				return err
			}
			if !r.open() {
				return nil
			}
			round.Reset(pause)
			pause = min(2*pause, lastReplayPause)
		case <-over.C:
			for range len(arrived) { // in time
				r.receive(<-arrived)
			}
			r.endOthers()
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// open reports whether an outcome is unknown.
func (r *replaying) open() bool {
	for i := range r.instances {
		if !r.instances[i].State.Ended() {
			return true
		}
	}
	return false
}

// send sends the request to the instances whose outcome is unknown, and ends those that are silent.
func (r *replaying) send(now time.Time) error {
	connected := r.nc.IsConnected()
	for i := range r.instances {
		o := &r.instances[i]
		switch {
		case o.State.Ended():
			continue
		case !validRun(o.Run):
			r.end(o, ReplayUnable, "its release has no replays")
			continue
		case !connected:
			o.heard = now // no answer can arrive
			continue
		case o.nobody && !o.answered && now.Sub(r.began) > unableAfter:
			r.end(o, ReplayUnable, "nothing answers requests for replays for it: its release has no replays, it has ended, or NATS does not let it subscribe to "+
				replaySubject(r.Namespace, o.Run))
			continue
		case now.Sub(o.heard) > r.Silence:
			why := fmt.Sprintf("no answer for %v", r.Silence)
			if o.answered {
				why = fmt.Sprintf("it has not answered for %v, in the middle of the replay: it has ended, or lost its connection to NATS", r.Silence)
			}
			r.end(o, ReplaySilent, why)
			continue
		}
		if err := r.nc.PublishRequest(replaySubject(r.Namespace, o.Run), r.inbox+strconv.Itoa(i), r.request); err != nil {
			return fmt.Errorf("send the request to instance %s: %w", o.Instance, err)
		}
	}
	return nil
}

// receive handles a message on a subject of an answer.
func (r *replaying) receive(m *nats.Msg) {
	i, err := strconv.Atoi(strings.TrimPrefix(m.Subject, r.inbox))
	if err != nil || i < 0 || i >= len(r.instances) || r.instances[i].State.Ended() {
		return
	}
	o := &r.instances[i]
	if len(m.Data) == 0 && m.Header.Get("Status") == noResponders {
		o.nobody = true
		return
	}
	var report ReplayReport
	if err := json.Unmarshal(m.Data, &report); err != nil {
		r.end(o, ReplayFailed, "its answer is not readable: "+err.Error())
		return
	}
	o.heard, o.answered, o.nobody = time.Now(), true, false
	switch report.State {
	case ReplayWorking:
		o.ReplayReport = report
	case ReplayDone, ReplayFailed, ReplayRefused:
		o.ReplayReport = report
		r.end(o, report.State, report.Error)
	default:
		r.end(o, ReplayFailed, fmt.Sprintf("its answer has the unknown state %.40q", report.State))
	}
}

// endOthers ends the instances that are still working when the time is over.
func (r *replaying) endOthers() {
	for i := range r.instances {
		o := &r.instances[i]
		switch {
		case o.State.Ended():
		case !o.answered:
			r.end(o, ReplaySilent, fmt.Sprintf("no answer within %v", r.Wait))
		default:
			why := fmt.Sprintf("still working after %v; it goes on", r.Wait)
			if o.Error != "" {
				why += ": " + o.Error
			}
			r.end(o, ReplayUnfinished, why)
		}
	}
}

// end records the outcome of an instance.
func (r *replaying) end(o *replayingInstance, state ReplayState, why string) {
	o.State, o.Error = state, strings.Join(strings.Fields(why), " ")
	if r.Ended != nil {
		r.Ended(o.ReplayOutcome)
	}
}

// ErrReplay is returned by [ReplayVerdict] if an instance did not replay.
var ErrReplay = errors.New("not every instance has replayed")

// ReplayVerdict returns nil if every outcome is [ReplayDone], and otherwise an [ErrReplay] that names the first instances that did not, and
// why.
func ReplayVerdict(outcomes []ReplayOutcome) error {
	const most = 10
	var who []string
	n := 0
	for _, o := range outcomes {
		if o.State == ReplayDone {
			continue
		}
		if n++; n <= most {
			who = append(who, fmt.Sprintf("%s (%s: %s)", o.Instance, o.State, o.Error))
		}
	}
	switch {
	case n == 0:
		return nil
	case n > most:
		who = append(who, fmt.Sprintf("and %d more", n-most))
	}
	return fmt.Errorf("%w: %d of %d did not: %s", ErrReplay, n, len(outcomes), strings.Join(who, ", "))
}
