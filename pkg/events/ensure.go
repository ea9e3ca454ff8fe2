package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// duplicateWindow is how long the stream knows an event's id. Announce needs no more of it than to save a repeated
// publish its place in the log: what keeps the order is the expected sequence.
const duplicateWindow = 2 * time.Minute

// Ensure creates the stream if it is missing, and mends the settings of one that is there where the log depends on
// them and the server allows it; whatever else an operator set is left as it is. It is an [ErrStream] if the stream
// cannot be the log. It may be called at any time, by anyone, at the same time; it tries until ctx ends.
func (l *Log) Ensure(ctx context.Context) error {
	err := retry(ctx, func() error { return l.ensure(ctx) })
	if err != nil {
		return fmt.Errorf("ensure the event log (stream %s): %w", l.cfg.Stream, err)
	}
	return nil
}

func (l *Log) ensure(ctx context.Context) error {
	info, err := l.info(ctx)
	if noStream(err) {
		return l.create(ctx)
	}
	if err != nil {
		return err
	}
	cfg := info.Config
	if err := l.check(cfg); err != nil {
		return err
	}
	if !l.mend(&cfg) {
		return nil
	}
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	if _, err := l.js.UpdateStream(ctx, cfg); err != nil {
		return refused("update", err)
	}
	return nil
}

func (l *Log) create(ctx context.Context) error {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	cfg := jetstream.StreamConfig{
		Name:              l.cfg.Stream,
		Description:       "freshet: versions of datasets",
		Storage:           jetstream.FileStorage,
		Replicas:          max(1, l.cfg.Replicas),
		Subjects:          []string{l.subjects.all()},
		MaxMsgsPerSubject: l.cfg.Keep,
		Duplicates:        duplicateWindow,
		// An event names the deltas that the one before named, but for one: 14 MB of events with 64 deltas each, and 51 MB with
		// 256, take 3 MB of disk, most of it for the block that is not full yet. A server before 2.10 does not do it.
		Compression: jetstream.S2Compression,
	}
	l.mend(&cfg)
	_, err := l.js.CreateStream(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return errors.New("another one created it at the same moment, with other settings") // look again
	}
	if err != nil {
		return refused("create", err)
	}
	return nil
}

// mend sets what the log depends on, and reports whether anything changed.
func (l *Log) mend(cfg *jetstream.StreamConfig) (changed bool) {
	set := func(is bool, change func()) {
		if !is {
			change()
			changed = true
		}
	}
	set(cfg.AllowDirect, func() { cfg.AllowDirect = true })
	set(cfg.Discard == jetstream.DiscardOld, func() { cfg.Discard, cfg.DiscardNewPerSubject = jetstream.DiscardOld, false })
	set(!cfg.NoAck, func() { cfg.NoAck = false })
	// A limit of age, or over all subjects, takes the only event of a dataset that seldom changes, and a new instance
	// would not hear of it. The limit per subject is harmless, and what bounds the log.
	set(cfg.MaxAge == 0, func() { cfg.MaxAge = 0 })
	set(cfg.MaxMsgs == -1, func() { cfg.MaxMsgs = -1 })
	set(cfg.MaxBytes == -1, func() { cfg.MaxBytes = -1 })
	set(l.cfg.Replicas == 0 || cfg.Replicas == l.cfg.Replicas, func() { cfg.Replicas = l.cfg.Replicas })
	return changed
}

// check refuses a stream for what no update can change.
func (l *Log) check(cfg jetstream.StreamConfig) error {
	all := l.subjects.all()
	bad := func(what string) error {
		return fmt.Errorf("%w: %s; choose another name for the log, or delete that stream: freshet writes it again from the store", ErrStream, what)
	}
	switch {
	case !slices.Contains(cfg.Subjects, all):
		return bad(fmt.Sprintf("its subjects are %q and not %s", cfg.Subjects, all))
	case cfg.Storage != jetstream.FileStorage:
		return bad("it keeps its messages in memory")
	case cfg.Retention != jetstream.LimitsPolicy:
		return bad("its retention is " + cfg.Retention.String())
	case cfg.Mirror != nil || len(cfg.Sources) > 0:
		return bad("it copies another stream")
	case cfg.Sealed:
		return bad("it is sealed")
	case cfg.SubjectTransform != nil:
		return bad("it renames its subjects")
	}
	return nil
}

// refused makes the server's refusal of a configuration an ErrStream, unless a later attempt may be granted.
func refused(verb string, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch {
		case api.ErrorCode == noSuitablePeers:
			return fmt.Errorf("%s it: %s", verb, api.Description) // as text: the code says that it is for good
		case api.Code < 500, api.ErrorCode == replicasNotSupported:
			return fmt.Errorf("%w: %s it: %w", ErrStream, verb, err)
		}
	}
	return fmt.Errorf("%s it: %w", verb, err)
}

// Errors of nats-server (server/errors.json) whose codes say the contrary of whether trying again helps.
const (
	// noSuitablePeers, 400: fewer servers of the cluster are up than there shall be replicas.
	noSuitablePeers jetstream.ErrorCode = 10005
	// replicasNotSupported, 500: there is no cluster.
	replicasNotSupported jetstream.ErrorCode = 10074
)
