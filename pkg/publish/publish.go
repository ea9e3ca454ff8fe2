package publish

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/compact"
	"freshet.dev/pkg/publish/internal/follow"
	"freshet.dev/pkg/publish/internal/inflight"
	"freshet.dev/pkg/publish/internal/restore"
	"freshet.dev/pkg/publish/internal/rules"
)

// Publisher publishes versions of any number of datasets. It is safe for concurrent use; each Publish takes its own memory.
type Publisher struct {
	cfg       Config
	deps      Deps
	history   *versions.History
	builder   *build.Builder
	committer *commit.Committer
	compactor *compact.Compactor
	inflight  *inflight.Versions
	followers *follow.Followers
	restorer  *restore.Restorer
	rules     *rules.Rules

	background background
	running    atomic.Bool // a Run is in progress
}

// Open returns a Publisher. It creates the folder for temporary files if that is missing, and removes files of publishers that died from
// it. It starts nothing; see Run.
func Open(cfg Config, deps Deps) (*Publisher, error) {
	if deps.Store == nil {
		return nil, errors.New("publish: Deps has no Store")
	}
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	if err := cleanTempDir(cfg); err != nil {
		return nil, err
	}
	limits := versions.Limits{Deltas: cfg.MaxDeltas, Percent: cfg.MaxDeltaPercent}
	h := versions.New(deps.Store, cfg.Workers, cfg.Log)
	inFlight := &inflight.Versions{}
	p := &Publisher{
		cfg: cfg, deps: deps, history: h, inflight: inFlight,
		builder:   build.New(build.Config{MemoryBytes: cfg.MemoryBytes, MaxDecompressedBytes: cfg.MaxDecompressedBytes, Workers: cfg.Workers, Limits: limits}, h),
		committer: commit.New(commit.Config{Settings: cfg.Settings, Workers: cfg.Workers, Log: cfg.Log}, deps.Store, h, inFlight),
		compactor: compact.New(compact.Config{TempDir: cfg.TempDir, Workers: cfg.Workers, Limits: limits, Log: cfg.Log}, deps.Store, h),
		followers: follow.New(follow.Config{Timeout: cfg.AnnounceTimeout, Log: cfg.Log}, deps.Store, h.Records, deps.Events, deps.Catalog),
	}
	p.restorer = restore.New(restore.Config{TempDir: cfg.TempDir, Log: cfg.Log}, deps.Store, h, p.builder, p.compactor)
	p.rules = &rules.Rules{Settings: cfg.Settings, Fill: cfg.FillSettings, FirstOf: cfg.FirstSettings, History: h}
	p.background = p.newBackground()
	return p, nil
}

func cleanTempDir(cfg Config) error {
	if err := os.MkdirAll(cfg.TempDir, 0o700); err != nil {
		return fmt.Errorf("publish: make the folder for temporary files (TempDir): %w", err)
	}
	removed, err := scratch.Clean(cfg.TempDir)
	for _, path := range removed {
		cfg.Log.Info("removed the temporary files of a publisher that died", "folder", path)
	}
	if err != nil {
		cfg.Log.Warn("temporary files of a publisher that died are left", "error", err)
	}
	return nil
}

// Publish reads in and makes its records the next version of the dataset called name. When it returns nil the version in the Result is
// committed; on any error but [ErrUnknown] nothing is published. It returns an [*InputError] for an input that is refused, a [*GateError],
// [ErrConflict], ctx's error, or an error of Body or Records, the temporary folder or the store.
//
// If the content equals the newest version's, Publish verifies the objects of that version in the store, and heals damaged ones. That
// reads the compressed bytes of the version once, which takes 0.7 s for each gigabyte that is cached in memory.
//
// Once the version is committed, the end of ctx does not stop its announcement; see Config.AnnounceTimeout.
func (p *Publisher) Publish(ctx context.Context, name string, in Input) (Result, error) {
	p.fill(&in)
	if err := CheckInput(name, in); err != nil {
		return Result{}, err
	}
	race, err := p.committer.Start(ctx, commit.Publish, name, in.RequestID)
	if err != nil {
		return Result{}, err
	}
	defer race.Release(ctx) // after the announcement, which must not wait for the store
	if err := p.rule(ctx, race, name, &in); err != nil {
		return Result{}, err
	}
	folder, err := scratch.New(p.cfg.TempDir)
	if err != nil {
		return Result{}, fmt.Errorf("publish dataset %q: %w", name, err)
	}
	defer folder.Discard(p.cfg.Log, name)
	meter := in.meter()
	draft, err := p.builder.Draft(ctx, name, in.content(), meter, seedAfter(race.Newest), folder)
	if err != nil {
		return Result{}, publicError(name, err)
	}
	defer draft.Close()
	race.AllowShrink = in.AllowShrink
	job := build.NewFull(draft, p.meta(in))
	if in.DryRun {
		return preview(ctx, race, job)
	}
	made, err := race.Run(ctx, job)
	if err != nil {
		return Result{}, publicError(name, err)
	}
	result := newResult(made)
	meter.Report(build.Announcing, result.Record.State.Records)
	p.announce(context.WithoutCancel(ctx), &result)
	return result, nil
}

// fill sets the fields of in that the Publisher decides.
func (p *Publisher) fill(in *Input) {
	if in.Source == "" {
		in.Source = p.cfg.Source
	}
	if in.Progress == nil {
		in.Progress = func(Progress) {}
	}
}

// rule sets the rules that in, an input of the dataset, and its race are held to.
func (p *Publisher) rule(ctx context.Context, race *commit.Race, name string, in *Input) (err error) {
	if in.Records != nil {
		race.Hold = p.rules.First(name, in.By)
		return nil
	}
	in.ruling, err = p.rules.Of(ctx, rules.Spec{
		Dataset: name, Newest: race.Newest, Repeated: race.Repeated, Key: in.keys(), CSV: in.Format == FormatCSV || in.Files != nil, By: in.By,
	})
	if err != nil {
		return publicError(name, err)
	}
	race.Hold = in.ruling.Hold
	return nil
}

// seedAfter returns the seed of the hash of the dataset whose newest version is newest: that of its versions, or a new one.
func seedAfter(newest dataset.VersionRecord) uint64 {
	if newest.Version > 0 {
		return uint64(newest.Seed)
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return binary.LittleEndian.Uint64(b[:])
}

// DefaultKey is the key of an input that names none, of a dataset without the setting key.
const DefaultKey = rules.DefaultKey
