// Package record keeps a record of an instance's last status in the catalog, so that an instance that does not answer over NATS
// is reported as silent. The record is only for observers: no operation of the instance waits for it.
package record

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/internal/wake"
)

const (
	// every is the time between two writes without a change. Two writes may fail before the record expires.
	every = catalog.InstanceTTL / 3
	// pause is the least time between two writes. The second write has all changes in between.
	pause = time.Second
	// writeTimeout bounds a write, and forgetTimeout the removal. Both delay the end of an instance if Redis hangs.
	writeTimeout  = time.Second
	forgetTimeout = 500 * time.Millisecond
)

// Catalog stores records; [catalog.Catalog] implements it.
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
	changed wake.Signal

	// written and failing are the result of the last write: it succeeded, it failed. Only Run uses them.
	written, failing bool
}

// New returns a keeper of the record of the instance id. The record's content is what status returns. New starts nothing.
func New(c Catalog, id string, status func() ([]byte, error), log *slog.Logger) *Keeper {
	return &Keeper{catalog: c, id: id, status: status, log: log, changed: wake.New()}
}

// Changed reports that the status has changed. It never blocks.
func (k *Keeper) Changed() { k.changed.Set() }

// Run writes the record at once, after each call of Changed and every ten seconds, until ctx ends. Then it removes the record, unless
// the last write failed, and returns nil. It logs when writes begin to fail and when they succeed again.
func (k *Keeper) Run(ctx context.Context) error {
	for k.write(ctx); wake.Wait(ctx, pause, nil); k.write(ctx) {
		if !wake.Wait(ctx, every-pause, k.changed) {
			break
		}
	}
	if !k.written {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	if err := k.catalog.ForgetInstance(ctx, k.id); err != nil {
		k.log.Warn("the record of this instance could not be removed from Redis; until it expires, the instance is reported as silent", "error", err)
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
		return // proves nothing about Redis
	case err != nil && !k.failing:
		k.log.Warn("the record of this instance cannot be written to Redis; retrying", "error", err)
	case err == nil && k.failing:
		k.log.Info("the record of this instance is written to Redis again")
	}
	k.written, k.failing = err == nil, err != nil
}
