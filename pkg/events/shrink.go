package events

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// yieldAgain is the least time between two halvings in one process for the sake of what others store.
	yieldAgain = time.Hour
	// leastYielded is how many events of each dataset the log keeps when others fill the account or the server.
	leastYielded = 32
)

// Keys of the stream's metadata after a halving. A server before 2.10 does not keep them; there the stream keeps the smaller number.
const (
	// keepBefore is max_msgs_per_subject before the first halving.
	keepBefore = "freshet_keep_before"
	// boundBefore is the bound that was reached: max_bytes of the stream or max_file of the account; 0 if others had filled it.
	boundBefore = "freshet_bound_before"
	// halvedAt is when the last halving was, in seconds of Unix time.
	halvedAt = "freshet_halved_at"
)

// makeRoom changes a stream that has refused an event with err, so that it takes the event. It restores settings that an operator
// changed. If the stream, the account or the server is full, it halves the number of events that the stream keeps of each dataset:
// the store has them, and a new instance needs the newest alone. It returns an ErrStream if that is all that the stream keeps.
//
// Where others fill the account or the server, they would soon take the room too. makeRoom then halves once an hour at most, and
// keeps leastYielded events.
func (l *Log) makeRoom(ctx context.Context, err error) error {
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
		least = leastYielded
	}
	switch {
	case most <= least:
		return l.isFull(info, err)
	case bound == 0 && !l.yield():
		return foreign(err)
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
	l.cfg.Log.WarnContext(ctx, "the event log has no room and keeps fewer events of each dataset", "stream", l.cfg.Stream,
		"from", info.Config.MaxMsgsPerSubject, "to", cfg.MaxMsgsPerSubject, "events", most, "error", err.Error())
	return nil
}

// reached returns the bound that the log reached itself, max_bytes of the stream or max_file of the account, when an event is refused
// with err. It returns 0 if the account or the server is full of what others store.
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

// account returns how many bytes the account stores, and how many it may; 0 or less if that has no bound or is not known.
func (l *Log) account(ctx context.Context) (used uint64, most int64) {
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	a, err := l.js.AccountInfo(ctx)
	if err != nil {
		return 0, 0
	}
	return a.Store, a.Limits.MaxStore
}

// yield reports whether this process may give up history for the sake of others now, and records that it does.
func (l *Log) yield() bool {
	last, now := l.yielded.Load(), time.Now()
	return (last == 0 || now.Sub(time.Unix(0, last)) >= yieldAgain) && l.yielded.CompareAndSwap(last, now.UnixNano())
}

// mayKeepMore reports, once, that yieldAgain has passed since this process gave up history: others may have made room.
func (l *Log) mayKeepMore() bool {
	last := l.yielded.Load()
	return last != 0 && time.Since(time.Unix(0, last)) >= yieldAgain && l.yielded.CompareAndSwap(last, 0)
}

// raise sets max_msgs_per_subject to what it was before the log gave up history, if there is room again, and reports whether it did:
//   - where the log reached a bound itself, if that is higher now, or gone;
//   - where others filled the account, if a quarter of it is free;
//   - where others filled the server, which does not say what is free, after yieldAgain.
func (l *Log) raise(ctx context.Context, cfg *jetstream.StreamConfig) bool {
	keep, err := strconv.ParseInt(cfg.Metadata[keepBefore], 10, 64)
	if err != nil {
		return false // the log never halved its history
	}
	bound, _ := strconv.ParseInt(cfg.Metadata[boundBefore], 10, 64)
	at, _ := strconv.ParseInt(cfg.Metadata[halvedAt], 10, 64)
	used, most := l.account(ctx)
	lowest := most
	if cfg.MaxBytes > 0 && (most <= 0 || cfg.MaxBytes < most) {
		lowest = cfg.MaxBytes
	}
	room := false
	switch {
	case bound > 0:
		room = lowest <= 0 || lowest > bound
	case most > 0:
		room = used <= uint64(most)/4*3
	default:
		room = time.Since(time.Unix(at, 0)) >= yieldAgain
	}
	if !room {
		return false
	}
	cfg.MaxMsgsPerSubject = keep
	cfg.Metadata = maps.Clone(cfg.Metadata)
	for _, name := range []string{keepBefore, boundBefore, halvedAt} {
		delete(cfg.Metadata, name)
	}
	return true
}
