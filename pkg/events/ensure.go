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
	_, err := l.repair(ctx)
	if err == nil {
		l.ensured.Store(true)
	}
	return err
}

// repair is ensure. It reports whether it changed anything.
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
	mended := l.mend(&cfg)
	raised := l.raise(ctx, &cfg)
	if !mended && !raised {
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
	if raised {
		l.cfg.Log.InfoContext(ctx, "the event log keeps as many events of each dataset as before again", "stream", l.cfg.Stream,
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
		// An event names the deltas that the one before named, but for one: 14 MB of events with 64 deltas each, and 51 MB with
		// 256, take 3 MB of disk, most of it for the block that is not full yet. A server before 2.10 does not do it.
		Compression: jetstream.S2Compression,
	}
	l.mend(&cfg)
	err := l.createAs(ctx, cfg)
	if has(err, maxBytesRequired) {
		l.bound(&cfg, firstMaxBytes)
		for err = l.createAs(ctx, cfg); tooLarge(err) && cfg.MaxBytes > leastMaxBytes; err = l.createAs(ctx, cfg) {
			cfg.MaxBytes /= 2
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return errors.New("another one created it at the same moment, with other settings") // look again
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

// mend sets what the log depends on, and reports whether anything changed.
func (l *Log) mend(cfg *jetstream.StreamConfig) (changed bool) {
	set := func(is bool, change func()) {
		if !is {
			change()
			changed = true
		}
	}
	set(cfg.AllowDirect, func() { cfg.AllowDirect = true })
	set(!cfg.NoAck, func() { cfg.NoAck = false })
	// A limit of age, or over all subjects, takes the only event of a dataset that seldom changes, and a new instance
	// would not hear of it. The limit per subject is harmless, and what bounds the log.
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

// check refuses a stream for what no update can change, and for subjects that others may need.
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
