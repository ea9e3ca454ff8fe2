package fleet

import (
	"context"

	"github.com/nats-io/nats.go"
)

// ReplayResponder answers requests for replays for one instance. Create it with NewReplayResponder.
type ReplayResponder struct {
	nc             *nats.Conn
	namespace, run string
	replay         func(ReplayRequest) ReplayReport
}

// NewReplayResponder returns a ReplayResponder for the run of an instance in the namespace on nc. replay begins a replay or reports on one
// that it knows by its id; it must not wait for its end. NewReplayResponder starts nothing.
func NewReplayResponder(nc *nats.Conn, namespace, run string, replay func(ReplayRequest) ReplayReport) *ReplayResponder {
	return &ReplayResponder{nc: nc, namespace: namespace, run: run, replay: replay}
}

// Run answers requests, one at a time, until ctx ends, and then returns nil. It returns [ErrClosed] when the connection is closed. After a
// panic of replay it answers that request and returns the panic as an error; the caller may call Run again. After Run has returned, replay
// is not called any more.
func (r *ReplayResponder) Run(ctx context.Context) error {
	return runResponder{
		nc: r.nc, namespace: r.namespace, run: r.run, subject: replaySubject(r.namespace, r.run), what: "requests for replays", most: maxReplayRequest,
		answer: func(data []byte, _ int) ([]byte, error) {
			q, err := decodeReplay(data)
			if err != nil {
				return nil, err
			}
			return encodeReport(r.replay(q))
		},
		failed: func(err error) []byte {
			answer, _ := encodeReport(ReplayReport{State: ReplayRefused, Error: err.Error()}) // it has only texts
			return answer
		},
	}.Run(ctx)
}
