// Package record keeps the last word of an instance in the catalog: who does not answer over NATS is missed by it. It is
// a service to onlookers, and nothing waits for it.
package record

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"freshet.dev/pkg/catalog"
)

const (
	// every is how often the record is written when nothing happens: two writes may fail before it expires.
	every = catalog.InstanceTTL / 3
	// pause is the least time between two writes: what happens in it is told by the second.
	pause = time.Second
	// writeTimeout bounds a write and forgetTimeout the removal, which both hold up the end of an instance if Redis hangs.
	writeTimeout  = time.Second
	forgetTimeout = 500 * time.Millisecond
)

// Catalog is what keeps records: [catalog.Catalog] is one.
type Catalog interface {
	RecordInstance(ctx context.Context, id string, status []byte) error
	ForgetInstance(ctx context.Context, id string) error
}

// Keeper writes the record of one instance. Create it with New.
type Keeper struct {
	catalog Catalog
	id      string
	status  func() ([]byte, error)
	log     *slog.Logger
	wake    chan struct{} // has room for one: something has happened

	// written and failing are of the goroutine that runs Run: the last write succeeded, failed.
	written, failing bool
}

// New returns a keeper of the record of the instance with the id, which is what status returns. It starts nothing.
func New(c Catalog, id string, status func() ([]byte, error), log *slog.Logger) *Keeper {
	return &Keeper{catalog: c, id: id, status: status, log: log, wake: make(chan struct{}, 1)}
}

// Changed says that the status has changed. It never waits.
func (k *Keeper) Changed() {
	select {
	case k.wake <- struct{}{}:
	default: // the write that is due will tell
	}
}

// Run writes the record now, whenever Changed has been called and every ten seconds, until ctx ends. Then it removes the
// record, unless Redis cannot be reached anyway, and returns nil. That a write fails is logged when it begins and ends.
func (k *Keeper) Run(ctx context.Context) error {
	for k.write(ctx); wait(ctx, pause, nil); k.write(ctx) {
		if !wait(ctx, every-pause, k.wake) {
			break
		}
	}
	if !k.written {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	if err := k.catalog.ForgetInstance(ctx, k.id); err != nil {
		k.log.Warn("the record of this instance could not be removed from Redis, and will be there for a while as that of a silent one", "error", err)
	}
	return nil
}

func (k *Keeper) write(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	status, err := k.status()
	if err == nil {
		err = k.catalog.RecordInstance(short, k.id, status)
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return // says nothing about Redis
	case err != nil && !k.failing:
		k.log.Warn("the record of this instance cannot be written to Redis; it goes on, and tries again", "error", err)
	case err == nil && k.failing:
		k.log.Info("the record of this instance is written to Redis again")
	}
	k.written, k.failing = err == nil, err != nil
}

// wait waits for d, or for wake, and reports whether ctx is still there.
func wait(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
