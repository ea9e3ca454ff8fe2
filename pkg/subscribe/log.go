package subscribe

import (
	"context"
	"log/slog"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/guard"
)

// logObserver returns an Observer that logs all events.
func logObserver(log *slog.Logger) Observer {
	return Observer{
		Swapped:      func(e Refresh) { logRefresh(log, e) },
		Failed:       func(e Failure) { logFailure(log, e) },
		StateChanged: func(e StateChange) { logStateChange(log, e) },
		CaughtUp: func(e CatchUp) {
			if e.Err == nil {
				log.Debug("caught up", "reason", e.Reason)
				return
			}
			log.Warn("cannot catch up and will retry; the served versions may be stale", "reason", e.Reason, "error", e.Err,
				"retry_in", max(0, time.Until(e.Retry)), "stack", guard.Stack(e.Err))
		},
		Healed: func(e Healing) {
			log.Warn("healed: a beacon named a version of which no event came", "dataset", e.Record.Dataset, "version", e.Record.Version)
		},
		Rejected: func(e Rejection) {
			log.Warn("an event names a version that cannot be loaded and that the store does not have; it is ignored", "dataset", e.Record.Dataset,
				"version", e.Record.Version, "id", e.Record.VersionID().String())
		},
		OtherStore: func(e StoreWarning) {
			log.Warn("messages or relays of another store are ignored", "dataset", e.Dataset, "why", e.Warning)
		},
		StoreChanged: func(e StoreChange) {
			log.Warn("all relays read another store now, and this instance follows them", "was", e.Was.String(), "now", e.Now.String())
		},
		RelayRefused: func(e RelayRefusal) {
			log.Error("a relay gave wrong bytes, damaged in its store or on the way, which were discarded; it is used only if no other relay is left",
				"relay", e.Relay, "object", e.Object.Digest, "error", e.Err)
		},
		CacheFailed:  func(e CacheFailure) { logCacheFailure(log, e) },
		CacheWritten: func(e CacheWrite) { logCacheWrite(log, e) },
		CallbackFailed: func(e CallbackFailure) {
			log.Error("a function given to OnSwap panicked and will be called again", "dataset", e.Dataset, "version", e.Version,
				"error", e.Err, "retry_in", e.Pause, "stack", guard.Stack(e.Err))
		},
		DecodeFailed: func(e DecodeFailure) {
			if e.Records == 0 {
				log.Warn("the decode function of a view panicked; further panics at this version are not logged", "dataset", e.Dataset,
					"version", e.Version, "error", e.Err, "stack", guard.Stack(e.Err))
				return
			}
			log.Warn("records of a version could not be decoded for an eager view", "dataset", e.Dataset, "version", e.Version,
				"records", e.Records, "error", e.Err, "stack", guard.Stack(e.Err))
		},
		Restarted: func(e Restart) {
			log.Error("the refreshing goroutine panicked and is started again", "error", e.Err, "stack", guard.Stack(e.Err))
		},
	}
}

func logRefresh(log *slog.Logger, e Refresh) {
	name, version := e.Record.Dataset, e.Record.Version
	if e.Record.Deleted {
		log.Info("a version deletes the dataset", "dataset", name, "version", version, "id", e.ID.String(), "by", e.Record.By,
			"reason", e.Record.Reason, "dropped", e.Record.Dropped, "records", e.Records, "created", e.Record.Created)
		return
	}
	if e.Fallback != nil {
		log.Warn("deltas did not lead to a version, which was loaded from its snapshot instead", "dataset", name, "version", version,
			"error", e.Fallback, "stack", guard.Stack(e.Fallback))
	}
	log.Info("serving a version", "dataset", name, "version", version, "from", e.From, "full", e.Full, "deltas", e.Deltas, "replayed", e.Replayed,
		"id", e.ID.String(), "records", e.Records, "bytes", e.Bytes, "pulled_bytes", e.PulledBytes, "duration", e.Duration, "created", e.Record.Created)
}

func logFailure(log *slog.Logger, e Failure) {
	if e.Bound != "" {
		if !e.Repeated {
			log.Warn("a version is refused by the bounds of this instance, and the version before stays served; a newer version is tried at once",
				"dataset", e.Record.Dataset, "version", e.Record.Version, "bound", e.Bound, "error", e.Err)
		}
		return
	}
	args := []any{
		"dataset", e.Record.Dataset, "version", e.Record.Version, "error", e.Err, "attempt", e.Attempt, "duration", e.Duration,
		"stack", guard.Stack(e.Err),
	}
	if e.Retry.IsZero() {
		log.Error("a refresh hangs; the version is retried when the refresh returns, a newer version at once", args...)
		return
	}
	log.Warn("a refresh failed and will be retried", append(args, "retry_in", time.Until(e.Retry))...)
}

// logStateChange logs every change in one line, so that the log alone shows the states. Changes that every refresh brings are
// at the level debug: the line on the swap covers them.
func logStateChange(log *slog.Logger, e StateChange) {
	level := slog.LevelWarn
	switch {
	case e.Usual:
		level = slog.LevelDebug
	case e.Now == fleet.Fresh, e.Now == fleet.Refreshing, e.Now == fleet.Waiting, e.Now == fleet.Pinned:
		level = slog.LevelInfo
	}
	log.Log(context.Background(), level, "a dataset is in another state", "dataset", e.Dataset, "was", e.Was, "now", e.Now,
		"why", e.Why, "since", e.Since, "version", e.Version, "newest", e.Newest)
}

func logCacheFailure(log *slog.Logger, e CacheFailure) {
	text := map[CacheOperation]string{
		CacheLoad:    "the newest version in the cache folder cannot be served",
		CacheStore:   "a version is served but could not be stored in the cache folder; a restart would begin with an older version or none",
		CacheShorten: "a snapshot could not be written to the cache folder; the write will be retried",
		CacheConfirm: "a version could not be confirmed in the cache folder; the write will be retried",
	}[e.Operation]
	log.Warn(text, "dataset", e.Dataset, "error", e.Err, "stack", guard.Stack(e.Err))
}

func logCacheWrite(log *slog.Logger, e CacheWrite) {
	if e.Operation == CacheShorten {
		log.Debug("the cached deltas are part of a new cached snapshot now", "dataset", e.Dataset)
		return
	}
	log.Info("the cache folder can be written again", "dataset", e.Dataset)
}
