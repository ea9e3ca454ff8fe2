package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// firstMaxBytes is what a new stream asks for in an account that requires a bound: some 20,000 events with chains of 64 deltas.
	firstMaxBytes = 256 << 20
	// leastMaxBytes is the least that it asks for. An event has 1 MiB at most.
	leastMaxBytes = 1 << 20
)

// Errors of nats-server (server/errors.json) that the client has no names for.
const (
	accountResources jetstream.ErrorCode = 10002 // 400: the account's messages take all that it may store
	// noSuitablePeers, 400: fewer servers of the cluster are up than there shall be replicas. It passes, although the code says
	// that it does not.
	noSuitablePeers       jetstream.ErrorCode = 10005
	insufficientResources jetstream.ErrorCode = 10023 // 503: the server's messages take all that it may store
	maximumStreams        jetstream.ErrorCode = 10027
	storageExceeded       jetstream.ErrorCode = 10047 // 500: a stream's max_bytes does not fit into the account or the server
	messageTooLarge       jetstream.ErrorCode = 10054
	subjectOverlap        jetstream.ErrorCode = 10065
	// replicasNotSupported, 500: there is no cluster. It does not pass, although the code says that it does.
	replicasNotSupported jetstream.ErrorCode = 10074
	storeFailed          jetstream.ErrorCode = 10077 // 503: among others, that a limit of the stream is reached
	maxBytesRequired     jetstream.ErrorCode = 10113
	maxStreamBytes       jetstream.ErrorCode = 10122 // a stream's max_bytes is above what the account allows
)

// has reports whether err is one of these errors of the server.
func has(err error, codes ...jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode)
}

// tooLarge reports whether err refuses a stream for its max_bytes.
func tooLarge(err error) bool { return has(err, storageExceeded, maxStreamBytes) }

// full reports whether err refuses an event because a limit of the stream, of the account or of the server is reached. Of the stream,
// only those of messages and bytes count: the other causes of the same code pass.
func full(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == storeFailed && strings.Contains(api.Description, "maximum") || has(err, accountResources, insufficientResources))
}

// bound makes bytes, or firstMaxBytes if it is no bound, the most that the stream takes, in an account that requires a bound.
func (l *Log) bound(cfg *jetstream.StreamConfig, bytes int64) {
	l.bounded.Store(true)
	cfg.MaxBytes = bytes
	if bytes <= 0 {
		cfg.MaxBytes = firstMaxBytes
	}
	l.mend(cfg)
}

// refused makes the server's refusal of a configuration an ErrStream that says what to change, unless a later attempt may be granted.
func (l *Log) refused(verb string, err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return fmt.Errorf("%s it: %w", verb, err)
	}
	switch {
	case has(err, noSuitablePeers):
		return fmt.Errorf("%s it: %s", verb, api.Description) // as text: the code says that it is for good
	case tooLarge(err) && l.cfg.MaxBytes > 0:
		return fmt.Errorf("%w: %s it with FRESHET_NATS_MAX_BYTES=%d: %w; lower that setting, or raise max_file and disk_max_stream_bytes of the JetStream account",
			ErrStream, verb, l.cfg.MaxBytes, err)
	case tooLarge(err), has(err, accountResources):
		return fmt.Errorf("%w: %s it: %w; raise max_file and disk_max_stream_bytes of the JetStream account, or delete streams that it does not need",
			ErrStream, verb, err)
	case has(err, maximumStreams):
		return fmt.Errorf("%w: %s it: %w; raise max_streams of the JetStream account, or delete a stream that it does not need", ErrStream, verb, err)
	case api.Code < 500, has(err, replicasNotSupported):
		return fmt.Errorf("%w: %s it: %w", ErrStream, verb, err)
	}
	return fmt.Errorf("%s it: %w", verb, err)
}

// overlaps names the stream that takes the log's subjects.
func (l *Log) overlaps(ctx context.Context, err error) error {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	other := "another stream"
	if name, err := l.js.StreamNameBySubject(ctx, l.subjects.all()); err == nil {
		other = "stream " + name
	}
	return fmt.Errorf("%w: create it: %w: %s takes %s too; take that subject out of it, or delete it", ErrStream, err, other, l.subjects.all())
}

// infoWithCounts is info with the number of events of each dataset.
func (l *Log) infoWithCounts(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, l.cfg.Stream)
	if err != nil {
		return nil, err
	}
	return s.Info(ctx, jetstream.WithSubjectFilter(l.subjects.all()))
}

// isFull says what to change for a stream that is full although it keeps one event of each dataset.
func (l *Log) isFull(info *jetstream.StreamInfo, err error) error {
	if !has(err, storeFailed) {
		return foreign(err)
	}
	holds := fmt.Sprintf("the newest events of %d datasets have %d bytes", len(info.State.Subjects), info.State.Bytes)
	if l.cfg.MaxBytes > 0 {
		return fmt.Errorf("%w: %w: %s; raise FRESHET_NATS_MAX_BYTES", ErrStream, err, holds)
	}
	return fmt.Errorf("%w: %w: %s; set FRESHET_NATS_MAX_BYTES to more than the max_bytes of stream %s, %d", ErrStream, err, holds, l.cfg.Stream, info.Config.MaxBytes)
}

// foreign says what to change if an account or a server is full of what is not the log's.
func foreign(err error) error {
	return fmt.Errorf("%w: %w; raise max_file of the JetStream account and of the server, or delete streams that they do not need", ErrStream, err)
}
