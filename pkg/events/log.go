package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/backoff"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrStream is returned when the stream with the log's name or subjects cannot serve as the log.
	ErrStream = errors.New("the stream cannot be the event log")
	// ErrNoStream is returned by History when the log does not exist.
	ErrNoStream = errors.New("there is no event log")
	// ErrRecreated is returned by History when the log was deleted or created again while History read it.
	ErrRecreated = errors.New("the event log was deleted or created again")
	// ErrConflict is returned by Announce when the log ends with a version that is not in the history of the announced one: a
	// version with the same number and another id, or a later version of another store. Both histories are in use.
	ErrConflict = errors.New("the event log holds a version of another history")
)

// EventError is the error of an unreadable event in the log.
type EventError struct {
	Dataset  string
	Sequence uint64 // in the stream
	Err      error  // wraps dataset.ErrEvent
}

func (e *EventError) Error() string {
	return fmt.Sprintf("event %d of the log, of dataset %s: %v", e.Sequence, e.Dataset, e.Err)
}

func (e *EventError) Unwrap() error { return e.Err }

// ErrNoAnswer is returned by Latest when the server does not answer within two seconds, or the connection breaks in that
// time.
var ErrNoAnswer = errors.New("JetStream does not answer")

// Config configures the event log. The zero value is valid.
type Config struct {
	// Namespace separates the log from those of other environments on the same NATS: each namespace has its own subjects and
	// its own stream. All programs of an environment have the same namespace. Empty is the default namespace.
	Namespace string
	// Stream is the name of the JetStream stream. If empty, it is FRESHET in the default namespace, and FRESHET_ with the
	// namespace in capitals in any other.
	Stream string
	// Replicas is the number of servers of a cluster that hold the stream. 0 means 1 for a new stream, and no change of an
	// existing one.
	Replicas int
	// Keep is the number of events of each dataset that a new stream keeps; 0 means 10,000. It does not change an existing
	// stream.
	Keep int64
	// MaxBytes bounds the stream on each server, in bytes. 0 means no bound, unless the account requires one: then an existing
	// stream keeps its bound, and a new one gets 256 MiB, or as much as the account allows. A full stream keeps fewer events of
	// each dataset, but at least the newest.
	MaxBytes int64
	// Log receives a line when the log discards history because space is short, and when it keeps as much as before again. nil
	// discards these lines.
	Log *slog.Logger
}

const (
	defaultStream = "FRESHET"
	defaultKeep   = 10_000
	// requestTimeout bounds one request to the server.
	requestTimeout = 2 * time.Second
)

// Log is the event log. It is safe for concurrent use.
type Log struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	cfg      Config
	subjects subjects
	// ensured is true once the stream's settings are known to be right.
	ensured atomic.Bool
	// bounded is true once the server has reported that the account requires max_bytes.
	bounded atomic.Bool
	// shrunk is the time when this process last halved the log because of other streams, in Unix nanoseconds; 0 if never.
	shrunk atomic.Int64
}

// NewLog returns the event log on nc. It sends no request. The caller closes nc.
func NewLog(nc *nats.Conn, cfg Config) (*Log, error) {
	subjects, err := newSubjects(cfg.Namespace)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	if cfg.Stream == "" {
		cfg.Stream = streamName(cfg.Namespace)
	}
	if cfg.Keep == 0 {
		cfg.Keep = defaultKeep
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Replicas < 0 || cfg.Keep < 0 || cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("event log: Replicas (%d), Keep (%d) and MaxBytes (%d) must not be negative", cfg.Replicas, cfg.Keep, cfg.MaxBytes)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	return &Log{nc: nc, js: js, cfg: cfg, subjects: subjects}, nil
}

// attempt returns a context for one request. It ends after timeout, and when the connection breaks: the answer is then
// lost, and waiting for it would only delay the next attempt.
func (l *Log) attempt(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	broken := l.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	go func() {
		defer l.nc.RemoveStatusListener(broken)
		select {
		case <-broken:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// unanswered returns ErrNoAnswer for the end of an attempt's context, which a caller could mistake for the end of
// ctx.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return ErrNoAnswer
	}
	return err
}

// info returns the stream's info from its leader.
func (l *Log) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, l.cfg.Stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// lastAtLeader returns the last message on the subject, or nil if there is none.
func (l *Log) lastAtLeader(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return l.queryLeader(ctx, leaderRequest{LastFor: subject})
}

// leaderRequest selects a message: the last one on a subject, or the first one on a subject from a sequence on.
type leaderRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
}

// queryLeader returns the requested message, or nil if there is none. It queries the stream's leader. The client would use a
// direct get, which any replica may answer from an older state.
func (l *Log) queryLeader(ctx context.Context, message leaderRequest) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	request, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	reply, err := l.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+l.cfg.Stream, request)
	if err != nil {
		return nil, err
	}
	// https://github.com/nats-io/jsm.go/blob/main/schemas/jetstream/api/v1/stream_msg_get_response.json
	var response struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &response); err != nil {
		return nil, fmt.Errorf("decode the answer of JetStream: %w", err)
	}
	m := response.Message
	switch {
	case response.Error != nil && response.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case response.Error != nil:
		return nil, response.Error
	case m == nil:
		return nil, errors.New("JetStream answers with neither a message nor an error")
	}
	return &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Data: m.Data, Time: m.Time}, nil
}

// noStream reports whether err says that the stream does not exist.
func noStream(err error) bool {
	return has(err, jetstream.JSErrCodeStreamNotFound)
}

// temporary reports whether another attempt may succeed after err.
func temporary(err error) bool {
	for _, permanent := range []error{
		ErrStream, ErrConflict, ErrRecreated, dataset.ErrEvent, dataset.ErrVersionRecord, nats.ErrConnectionClosed, nats.ErrMaxPayload,
	} {
		if errors.Is(err, permanent) {
			return false
		}
	}
	var api *jetstream.APIError
	switch {
	case errors.Is(err, errTryAgain):
		return true
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return true // also the answer of a server whose JetStream has not started yet
	case errors.As(err, &api):
		return api.Code >= 500 // no leader, no quorum, no space
	}
	return true
}

// Pauses between two attempts of a request.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// retry calls try until it succeeds, fails permanently, or ctx ends. In the last case the error wraps ctx's error and the
// last one of try.
func retry(ctx context.Context, try func() error) error {
	return backoff.New(firstPause, longestPause).Retry(ctx, temporary, func() error { return unanswered(ctx, try()) })
}
