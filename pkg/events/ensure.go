package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// duplicateWindow is the time for which the stream remembers an event's id. It only saves space in the log for a repeated
// publish: the expected sequence keeps the order.
const duplicateWindow = 2 * time.Minute

// Ensure creates the stream if it is missing. It corrects the settings of an existing one that the log depends on, as far
// as the server allows, and does not change other settings of an operator. It returns an [ErrStream] if the stream cannot
// be the log. Ensure may be called at any time, concurrently and by several processes. It retries until ctx ends.
func (l *Log) Ensure(ctx context.Context) error {
	err := retry(ctx, func() error { return l.ensure(ctx) })
	if err != nil {
		return fmt.Errorf("ensure the event log (stream %s): %w", l.cfg.Stream, err)
	}
	return nil
}

func (l *Log) ensure(ctx context.Context) error {
	_, err := l.repair(ctx)
	if err == nil {
		l.ensured.Store(true)
	}
	return err
}

// repair creates or corrects the stream. It reports whether it changed anything.
func (l *Log) repair(ctx context.Context) (changed bool, err error) {
	info, err := l.info(ctx)
	if noStream(err) {
		return true, l.create(ctx)
	}
	if err != nil {
		return false, err
	}
	cfg := info.Config
	if err := l.check(cfg); err != nil {
		return false, err
	}
	corrected := l.correct(&cfg)
	grown := l.grow(ctx, &cfg)
	if !corrected && !grown {
		return false, nil
	}
	err = l.update(ctx, cfg)
	if has(err, maxBytesRequired) {
		l.bound(&cfg, info.Config.MaxBytes)
		err = l.update(ctx, cfg)
	}
	if err != nil {
		return false, l.refused("update", err)
	}
	if grown {
		l.cfg.Log.InfoContext(ctx, "the event log again keeps as many events of each dataset as before", "stream", l.cfg.Stream,
			"from", info.Config.MaxMsgsPerSubject, "to", cfg.MaxMsgsPerSubject)
	}
	return true, nil
}

func (l *Log) update(ctx context.Context, cfg jetstream.StreamConfig) error {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	_, err := l.js.UpdateStream(ctx, cfg)
	return err
}

func (l *Log) create(ctx context.Context) error {
	cfg := jetstream.StreamConfig{
		Name:              l.cfg.Stream,
		Description:       "freshet: versions of datasets",
		Storage:           jetstream.FileStorage,
		Replicas:          max(1, l.cfg.Replicas),
		Subjects:          []string{l.subjects.all()},
		MaxMsgsPerSubject: l.cfg.Keep,
		Duplicates:        duplicateWindow,
		// Successive events name nearly the same deltas: 14 MB of events with 64 deltas each, and 51 MB with 256, take 3 MB of
		// disk, most of it for the last block, which is not full yet. A server before 2.10 does not compress.
		Compression: jetstream.S2Compression,
	}
	l.correct(&cfg)
	err := l.createAs(ctx, cfg)
	if has(err, maxBytesRequired) {
		l.bound(&cfg, firstMaxBytes)
		for err = l.createAs(ctx, cfg); tooLarge(err) && cfg.MaxBytes > leastMaxBytes; err = l.createAs(ctx, cfg) {
			cfg.MaxBytes /= 2
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return errors.New("another process created the stream at the same moment, with other settings") // retry
	case has(err, subjectOverlap):
		return l.overlaps(ctx, err)
	case err != nil:
		return l.refused("create", err)
	}
	return nil
}

func (l *Log) createAs(ctx context.Context, cfg jetstream.StreamConfig) error {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	_, err := l.js.CreateStream(ctx, cfg)
	return err
}

// correct corrects the settings that the log depends on, and reports whether it changed any.
func (l *Log) correct(cfg *jetstream.StreamConfig) (changed bool) {
	set := func(ok bool, change func()) {
		if !ok {
			change()
			changed = true
		}
	}
	set(cfg.AllowDirect, func() { cfg.AllowDirect = true })
	set(!cfg.NoAck, func() { cfg.NoAck = false })
	// A limit of age, or over all subjects, would delete the only event of a dataset that seldom changes, and a new instance
	// would not learn of its version. The limit per subject is harmless, and bounds the log.
	set(cfg.MaxAge == 0, func() { cfg.MaxAge = 0 })
	set(cfg.MaxMsgs == -1, func() { cfg.MaxMsgs = -1 })
	set(cfg.MaxMsgSize == -1, func() { cfg.MaxMsgSize = -1 })
	bytes, discard := int64(-1), jetstream.DiscardOld
	switch {
	case l.cfg.MaxBytes > 0:
		bytes, discard = l.cfg.MaxBytes, jetstream.DiscardNew
	case l.bounded.Load() && cfg.MaxBytes > 0:
		bytes, discard = cfg.MaxBytes, jetstream.DiscardNew
	}
	set(cfg.MaxBytes == bytes, func() { cfg.MaxBytes = bytes })
	set(cfg.Discard == discard && !cfg.DiscardNewPerSubject, func() { cfg.Discard, cfg.DiscardNewPerSubject = discard, false })
	set(l.cfg.Replicas == 0 || cfg.Replicas == l.cfg.Replicas, func() { cfg.Replicas = l.cfg.Replicas })
	return changed
}

// check refuses a stream with settings that no update can change, and one with subjects that other programs may use.
func (l *Log) check(cfg jetstream.StreamConfig) error {
	all := l.subjects.all()
	if !slices.Contains(cfg.Subjects, all) {
		return fmt.Errorf("%w: the subjects of stream %s are %q and not %s; set them to %s, or delete that stream: freshet writes it again from the store",
			ErrStream, l.cfg.Stream, cfg.Subjects, all, all)
	}
	bad := func(what string) error {
		return fmt.Errorf("%w: stream %s %s; delete it: freshet writes it again from the store", ErrStream, l.cfg.Stream, what)
	}
	switch {
	case cfg.Storage != jetstream.FileStorage:
		return bad("keeps its messages in memory")
	case cfg.Retention != jetstream.LimitsPolicy:
		return bad("has the retention " + cfg.Retention.String())
	case cfg.Mirror != nil || len(cfg.Sources) > 0:
		return bad("copies another stream")
	case cfg.Sealed:
		return bad("is sealed")
	case cfg.SubjectTransform != nil:
		return bad("renames its subjects")
	}
	return nil
}
