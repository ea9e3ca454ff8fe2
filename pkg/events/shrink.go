package events

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// shrinkInterval is the least time between two halvings in one process because of other streams.
	shrinkInterval = time.Hour
	// leastShared is the number of events of each dataset that the log keeps when other streams fill the account or the server.
	leastShared = 32
)

// Keys of the stream's metadata after a halving. A server before 2.10 does not store them; there the stream keeps the smaller
// number of events.
const (
	// keepBefore is max_msgs_per_subject before the first halving.
	keepBefore = "freshet_keep_before"
	// boundBefore is the bound that the log reached: max_bytes of the stream or max_file of the account; 0 if other streams
	// had filled the account or the server.
	boundBefore = "freshet_bound_before"
	// halvedAt is the time of the last halving, in seconds of Unix time.
	halvedAt = "freshet_halved_at"
)

// freeSpace changes a stream that has refused an event with err, so that it accepts the event. It restores settings that an
// operator changed. If the stream, the account or the server is full, freeSpace halves the number of events that the stream keeps
// of each dataset: the store has all versions, and a new instance needs only the newest event. It returns an ErrStream if the
// stream keeps no more than the newest.
//
// If other streams fill the account or the server, they would soon use the freed space, too. freeSpace then halves at most once
// an hour, and keeps leastShared events.
func (l *Log) freeSpace(ctx context.Context, err error) error {
	changed, failed := l.repair(ctx)
	if changed || failed != nil || has(err, messageTooLarge) {
		return failed
	}
	info, failed := l.infoWithCounts(ctx)
	if failed != nil {
		return failed
	}
	bound := l.reached(ctx, info, err)
	most, least := uint64(0), uint64(1)
	for _, n := range info.State.Subjects {
		most = max(most, n)
	}
	if bound == 0 {
		least = leastShared
	}
	switch {
	case most <= least:
		return l.isFull(info, err)
	case bound == 0 && !l.mayShrink():
		return fullOfOthers(err)
	}
	cfg := info.Config
	cfg.MaxMsgsPerSubject = int64(max(least, most/2))
	cfg.Metadata = maps.Clone(cfg.Metadata)
	if cfg.Metadata == nil {
		cfg.Metadata = map[string]string{}
	}
	if cfg.Metadata[keepBefore] == "" {
		cfg.Metadata[keepBefore] = strconv.FormatInt(info.Config.MaxMsgsPerSubject, 10)
	}
	cfg.Metadata[boundBefore] = strconv.FormatInt(bound, 10)
	cfg.Metadata[halvedAt] = strconv.FormatInt(time.Now().Unix(), 10)
	if err := l.update(ctx, cfg); err != nil {
		return l.refused("update", err)
	}
	l.cfg.Log.WarnContext(ctx, "the event log is full and keeps fewer events of each dataset", "stream", l.cfg.Stream,
		"from", info.Config.MaxMsgsPerSubject, "to", cfg.MaxMsgsPerSubject, "events", most, "error", err.Error())
	return nil
}

// reached returns the bound that the log itself has reached when an event is refused with err: max_bytes of the stream or max_file
// of the account. It returns 0 if other streams fill the account or the server.
func (l *Log) reached(ctx context.Context, info *jetstream.StreamInfo, err error) int64 {
	if has(err, storeFailed) {
		return max(1, info.Config.MaxBytes)
	}
	used, most := l.account(ctx)
	if most <= 0 || used > 2*info.State.Bytes*uint64(max(1, info.Config.Replicas)) {
		return 0
	}
	return most
}

// account returns the bytes that the account stores, and their limit; 0 or less if there is none or it is unknown.
func (l *Log) account(ctx context.Context) (used uint64, most int64) {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	a, err := l.js.AccountInfo(ctx)
	if err != nil {
		return 0, 0
	}
	return a.Store, a.Limits.MaxStore
}

// mayShrink reports whether this process may halve the log because of other streams now, and records the time if so.
func (l *Log) mayShrink() bool {
	last, now := l.shrunk.Load(), time.Now()
	return (last == 0 || now.Sub(time.Unix(0, last)) >= shrinkInterval) && l.shrunk.CompareAndSwap(last, now.UnixNano())
}

// mayGrow reports, once, that shrinkInterval has passed since this process halved the log because of other streams: there may
// be space again.
func (l *Log) mayGrow() bool {
	last := l.shrunk.Load()
	return last != 0 && time.Since(time.Unix(0, last)) >= shrinkInterval && l.shrunk.CompareAndSwap(last, 0)
}

// grow resets max_msgs_per_subject to its value before the first halving, if there is space again, and reports whether it did.
// There is space again
//   - if the log had reached a bound, when the bound is higher or gone;
//   - if other streams had filled the account, when a quarter of it is free;
//   - if other streams had filled the server, which does not report its free space, after shrinkInterval.
func (l *Log) grow(ctx context.Context, cfg *jetstream.StreamConfig) bool {
	keep, err := strconv.ParseInt(cfg.Metadata[keepBefore], 10, 64)
	if err != nil {
		return false // the log has never been halved
	}
	bound, _ := strconv.ParseInt(cfg.Metadata[boundBefore], 10, 64)
	at, _ := strconv.ParseInt(cfg.Metadata[halvedAt], 10, 64)
	used, most := l.account(ctx)
	lowest := most
	if cfg.MaxBytes > 0 && (most <= 0 || cfg.MaxBytes < most) {
		lowest = cfg.MaxBytes
	}
	free := false
	switch {
	case bound > 0:
		free = lowest <= 0 || lowest > bound
	case most > 0:
		free = used <= uint64(most)/4*3
	default:
		free = time.Since(time.Unix(at, 0)) >= shrinkInterval
	}
	if !free {
		return false
	}
	cfg.MaxMsgsPerSubject = keep
	cfg.Metadata = maps.Clone(cfg.Metadata)
	for _, name := range []string{keepBefore, boundBefore, halvedAt} {
		delete(cfg.Metadata, name)
	}
	return true
}
