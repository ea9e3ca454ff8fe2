// Package commit commits the next version of a dataset, in a race with other publishers.
//
// A publish and a patch are each a [Job] in a [Race]. The store lets exactly one publisher create each version number, so a race
// that loses prepares its job again from the newest version.
package commit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/inflight"
	"freshet.dev/pkg/publish/internal/keyed"
	"freshet.dev/pkg/store"
)

// ErrConflict is returned when a job lost maxAttempts races, or when the base of a patch is not the newest version.
var ErrConflict = errors.New("other publishers were faster")

// Job makes versions.
type Job interface {
	// Prepare makes the version after newest, in temporary files. It may find that no version is needed. It writes nothing to the store:
	// Proposal.Store does.
	Prepare(ctx context.Context, newest dataset.VersionRecord) (Proposal, error)
	// Differs returns how made, the version that an earlier call with the job's request id committed, differs from the job; "" if
	// it does not.
	Differs(ctx context.Context, made dataset.VersionRecord) (differs string, err error)
}

// Proposal is the version that a job makes.
type Proposal struct {
	Record   dataset.VersionRecord // the newest version if Create is false
	Create   bool
	Warnings []string
	// Content has the records of Record, for the gates; it is unset if Create is false.
	Content Content
	// Store puts the objects of the version into the store and completes Record, which may be committed then. It may add warnings. It is
	// nil if nothing is to be done.
	Store func(context.Context, *Proposal) error
}

// store calls Store.
func (p *Proposal) store(ctx context.Context) error {
	if p.Store == nil {
		return nil
	}
	return p.Store(ctx, p)
}

// Result is what a race ended with.
type Result struct {
	Record dataset.VersionRecord
	// Created is false if no version was needed.
	Created bool
	// Repeated is true if an earlier call with the same request id created the version.
	Repeated bool
	Warnings []string
}

// Committer commits the versions of one process.
type Committer struct {
	store     store.Store
	records   *versions.Records
	log       *slog.Logger
	inflight  *inflight.Versions
	settings  SettingsOf
	workers   int // that check values
	objects   *versions.Objects
	locks     keyed.Mutex // held by patches, and by publishes that lost races
	sightings sightings
}

// Config configures a Committer.
type Config struct {
	// Settings has the gates that versions must meet.
	Settings SettingsOf
	// Workers is how many goroutines check values.
	Workers int
	Log     *slog.Logger
}

// New returns a Committer for st. It marks versions as in flight before it commits them; the caller ends the mark of committed ones.
func New(cfg Config, st store.Store, h *versions.History, versions *inflight.Versions) *Committer {
	return &Committer{
		store: st, records: h.Records, objects: h.Objects, inflight: versions, settings: cfg.Settings, workers: cfg.Workers, log: cfg.Log,
	}
}

// put commits rec. If it returns nil, rec is in flight until the caller ends it. It returns store.ErrExists if another version has
// the number, and an *UnknownError if rec may be committed.
func (c *Committer) put(ctx context.Context, rec dataset.VersionRecord) error {
	c.inflight.Begin(rec)
	err := c.store.PutVersion(ctx, rec)
	if err == nil {
		return nil
	}
	switch c.outcome(ctx, rec, err) {
	case committed:
		return nil
	case unknown:
		err = &UnknownError{rec, err}
	case taken:
		err = oneline.Join(store.ErrExists, err)
	default:
		err = fmt.Errorf("commit version %s: %w", rec.ID(), err)
	}
	c.inflight.End(rec)
	return err
}
