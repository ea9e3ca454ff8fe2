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
	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrStream is returned when a stream is there under the log's name, or over its subjects, that cannot be the log.
	ErrStream = errors.New("the stream cannot be the event log")
	// ErrNoStream is returned by History when the log does not exist.
	ErrNoStream = errors.New("there is no event log")
	// ErrRecreated is returned by History when the log was deleted while it was read.
	ErrRecreated = errors.New("the event log was deleted or created again")
	// ErrConflict is returned by Announce when the log ends with a version that is not in the history of the announced one: a
	// version of its number with another id, or a later version of another store. Both histories are in use.
	ErrConflict = errors.New("the event log holds a version of another history")
)

// EventError tells of an event in the log that is not readable.
type EventError struct {
	Dataset  string
	Sequence uint64 // in the stream
	Err      error  // wraps dataset.ErrEvent
}

func (e *EventError) Error() string {
	return fmt.Sprintf("event %d of the log, of dataset %s: %v", e.Sequence, e.Dataset, e.Err)
}

func (e *EventError) Unwrap() error { return e.Err }

// ErrNoAnswer is returned by Latest when the server did not answer within two seconds, or the connection broke
// meanwhile.
var ErrNoAnswer = errors.New("JetStream does not answer")

// Config configures the event log. Its zero value is good.
type Config struct {
	// Namespace keeps the log apart from those of other environments on the same NATS: it has subjects and a stream of its
	// own. All programs of an environment have the same. Empty is the default namespace.
	Namespace string
	// Stream is the name of the JetStream stream; if empty, FRESHET in the default namespace, and else FRESHET_ and the
	// namespace in capitals.
	Stream string
	// Replicas is on how many servers of a cluster the stream lies; if 0, 1 for a new stream, and an existing one is
	// left as it is.
	Replicas int
	// Keep is how many events a new stream keeps of each dataset; 10,000 if 0. An existing one is left as it is.
	Keep int64
	// MaxBytes is the most bytes that the stream takes on each server. If 0, it has no bound, unless the account requires one: then
	// an existing stream keeps its own, and a new one has 256 MiB, or as much as the account allows. A stream that is full keeps
	// fewer events of each dataset, and at least the newest.
	MaxBytes int64
	// Log reports when the log gives up history because there is no room, and when it keeps as much as before again; nil discards that.
	Log *slog.Logger
}

const (
	defaultStream = "FRESHET"
	defaultKeep   = 10_000
	// requestTimeout bounds one request to the server.
	requestTimeout = 2 * time.Second
)

// Log is the event log. Its methods may be called at the same time.
type Log struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	cfg      Config
	subjects subjects
	// ensured is set once the stream's settings are known to be right.
	ensured atomic.Bool
	// bounded is set once the server has said that the account requires max_bytes.
	bounded atomic.Bool
	// yielded is when this process last gave up history because of what others store, in Unix nanoseconds; 0 if it never did.
	yielded atomic.Int64
}

// NewLog returns the event log on nc, which stays the caller's to close. It asks nothing of the server.
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
		return nil, fmt.Errorf("event log: replicas (%d), events to keep (%d) and most bytes (%d) must not be negative", cfg.Replicas, cfg.Keep, cfg.MaxBytes)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	return &Log{nc: nc, js: js, cfg: cfg, subjects: subjects}, nil
}

// attempt returns a context for one request. It ends after timeout, and when the connection breaks: a server
// took the request to its grave then, and waiting for an answer would only delay the next attempt.
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

// unanswered replaces the end of an attempt's context: to the caller, whose ctx goes on, it would look like that one's.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return ErrNoAnswer
	}
	return err
}

// info asks the stream's leader what the stream is.
func (l *Log) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, l.cfg.Stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// lastAtLeader returns the last message on the subject, nil if there is none.
func (l *Log) lastAtLeader(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return l.askLeader(ctx, leaderRequest{LastFor: subject})
}

// leaderRequest names a message: the last on a subject, or the first on one from a sequence on.
type leaderRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
}

// askLeader returns the message, nil if there is none. It asks the stream's leader, where the client would use a
// direct get, which any replica answers as of some time ago.
func (l *Log) askLeader(ctx context.Context, what leaderRequest) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	request, err := json.Marshal(what)
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
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound
}

// passing reports whether err may be gone at the next attempt.
func passing(err error) bool {
	for _, forGood := range []error{
		ErrStream, ErrConflict, ErrRecreated, dataset.ErrEvent, dataset.ErrVersionRecord, nats.ErrConnectionClosed, nats.ErrMaxPayload,
	} {
		if errors.Is(err, forGood) {
			return false
		}
	}
	var api *jetstream.APIError
	switch {
	case errors.Is(err, errTryAgain):
		return true
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return true // also what a server answers whose JetStream has not started yet
	case errors.As(err, &api):
		return api.Code >= 500 // no leader, no quorum, no space
	}
	return true
}

// retry calls try until it succeeds, or fails for good, or ctx ends: then the error has both ctx's and the last one.
func retry(ctx context.Context, try func() error) error {
	var last error
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 5*time.Millisecond, 500*time.Millisecond
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := unanswered(ctx, try())
		if err != nil && !passing(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		if err != nil && (last == nil || ctx.Err() == nil) { // what failed for the end of ctx says nothing new
			last = err
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
	if err != nil && ctx.Err() != nil && last != nil && !errors.Is(last, err) {
		return fmt.Errorf("%w, after: %w", err, last)
	}
	return err
}
