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
	// firstMaxBytes is the bound of a new stream in an account that requires one: some 20,000 events with chains of 64 deltas.
	firstMaxBytes = 256 << 20
	// leastMaxBytes is the least bound of a new stream. An event has 1 MiB at most.
	leastMaxBytes = 1 << 20
)

// Errors of nats-server (server/errors.json) that the client does not name.
const (
	accountResources jetstream.ErrorCode = 10002 // 400: the account's storage limit is reached
	// noSuitablePeers, 400: the cluster has fewer servers up than the stream has replicas. The error is temporary, although its
	// code suggests otherwise.
	noSuitablePeers       jetstream.ErrorCode = 10005
	insufficientResources jetstream.ErrorCode = 10023 // 503: the server's storage limit is reached
	maximumStreams        jetstream.ErrorCode = 10027
	storageExceeded       jetstream.ErrorCode = 10047 // 500: a stream's max_bytes does not fit into the account or the server
	messageTooLarge       jetstream.ErrorCode = 10054
	subjectOverlap        jetstream.ErrorCode = 10065
	// replicasNotSupported, 500: there is no cluster. The error is permanent, although its code suggests otherwise.
	replicasNotSupported jetstream.ErrorCode = 10074
	storeFailed          jetstream.ErrorCode = 10077 // 503: a limit of the stream is reached, among other causes
	maxBytesRequired     jetstream.ErrorCode = 10113
	maxStreamBytes       jetstream.ErrorCode = 10122 // a stream's max_bytes is above the account's limit
)

// has reports whether err is an error of the server with one of the codes.
func has(err error, codes ...jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode)
}

// tooLarge reports whether err refuses a stream for its max_bytes.
func tooLarge(err error) bool { return has(err, storageExceeded, maxStreamBytes) }

// full reports whether err refuses an event because a limit of the stream, of the account or of the server is reached. Of the
// stream's limits, only those of messages and bytes count: the other causes with the same code are temporary.
func full(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == storeFailed && strings.Contains(api.Description, "maximum") || has(err, accountResources, insufficientResources))
}

// bound sets max_bytes in an account that requires it: to bytes, or to firstMaxBytes if bytes is not positive.
func (l *Log) bound(cfg *jetstream.StreamConfig, bytes int64) {
	l.bounded.Store(true)
	cfg.MaxBytes = bytes
	if bytes <= 0 {
		cfg.MaxBytes = firstMaxBytes
	}
	l.correct(cfg)
}

// refused wraps the server's refusal of a configuration in an ErrStream with a remedy, unless a later attempt may succeed.
func (l *Log) refused(verb string, err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return fmt.Errorf("%s it: %w", verb, err)
	}
	switch {
	case has(err, noSuitablePeers):
		return fmt.Errorf("%s it: %s", verb, api.Description) // as text: the code would make the error permanent
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

// overlaps returns an ErrStream that names the stream with the log's subjects.
func (l *Log) overlaps(ctx context.Context, err error) error {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	other := "another stream"
	if name, err := l.js.StreamNameBySubject(ctx, l.subjects.all()); err == nil {
		other = "stream " + name
	}
	return fmt.Errorf("%w: create it: %w: %s takes %s too; remove that subject from it, or delete it", ErrStream, err, other, l.subjects.all())
}

// infoWithCounts returns the stream's info with the number of events of each dataset.
func (l *Log) infoWithCounts(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, l.cfg.Stream)
	if err != nil {
		return nil, err
	}
	return s.Info(ctx, jetstream.WithSubjectFilter(l.subjects.all()))
}

// isFull returns an ErrStream with a remedy for a stream that is full with one event of each dataset.
func (l *Log) isFull(info *jetstream.StreamInfo, err error) error {
	if !has(err, storeFailed) {
		return fullOfOthers(err)
	}
	holds := fmt.Sprintf("the newest events of %d datasets have %d bytes", len(info.State.Subjects), info.State.Bytes)
	if l.cfg.MaxBytes > 0 {
		return fmt.Errorf("%w: %w: %s; raise FRESHET_NATS_MAX_BYTES", ErrStream, err, holds)
	}
	return fmt.Errorf("%w: %w: %s; set FRESHET_NATS_MAX_BYTES to more than the max_bytes of stream %s, %d", ErrStream, err, holds, l.cfg.Stream, info.Config.MaxBytes)
}

// fullOfOthers returns an ErrStream with a remedy for an account or a server that is full of other streams.
func fullOfOthers(err error) error {
	return fmt.Errorf("%w: %w; raise max_file of the JetStream account and of the server, or delete streams that they do not need", ErrStream, err)
}
