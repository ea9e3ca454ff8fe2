package publish

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/inflight"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/keyed"
	"freshet.dev/pkg/publish/internal/scratch"
	"freshet.dev/pkg/publish/internal/spill"
	"freshet.dev/pkg/store"
)

// Config says how a Publisher works. The zero Config is usable.
type Config struct {
	// TempDir is the folder for spilled records; if empty, [os.TempDir]. It needs room for the uncompressed input and
	// its snapshot, and should not be in memory. It is created if missing.
	TempDir string
	// MemoryBytes is how many bytes of records, and of the window that decompresses them, are held before records are spilled: 4
	// MiB to 2 GiB; 0 means 64 MiB. It also bounds the windows of all inputs that are read at a time: a quarter is for patches, the
	// rest for publishes, each at least 8 MiB. One window takes half of it at most, that of a patch a quarter, but 8 MiB are always
	// read, and more than 128 MiB never.
	MemoryBytes int64
	// TextBytes is the most bytes that a compressed input may have once it is decompressed; 0 means 256 GiB. Above 1 GiB it may
	// not have more than 1,000 times its compressed size either.
	TextBytes int64
	// Source is Input.Source where that is empty.
	Source string
	// Workers is how many goroutines parse and compress, and decode what patches look up; 0 means GOMAXPROCS, at most 4.
	Workers int
	// AnnounceTimeout bounds each of the two steps after the commit; 0 means 5 s. If the event log lacks earlier versions, a publish
	// takes up to twelve times as long to announce those first.
	AnnounceTimeout time.Duration
	// MaxDeltas is how many deltas may follow a snapshot before a new one is due; 0 means [DefaultMaxDeltas], at most
	// [MaxMaxDeltas].
	MaxDeltas int
	// MaxDeltaPercent is how large they may be together, in percent of the snapshot's bytes, before a new one is due; 0
	// means [DefaultMaxDeltaPercent], at most 100.
	MaxDeltaPercent int
	// Log gets what a Publisher has to say that no caller is told; nil means nothing is logged.
	Log *slog.Logger
}

func (c *Config) setDefaults() error {
	if c.TempDir == "" {
		c.TempDir = os.TempDir()
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 64 << 20
	}
	if c.TextBytes == 0 {
		c.TextBytes = 256 << 30
	}
	if c.Workers == 0 {
		c.Workers = min(runtime.GOMAXPROCS(0), 4)
	}
	if c.AnnounceTimeout == 0 {
		c.AnnounceTimeout = 5 * time.Second
	}
	if c.MaxDeltas == 0 {
		c.MaxDeltas = DefaultMaxDeltas
	}
	if c.MaxDeltaPercent == 0 {
		c.MaxDeltaPercent = DefaultMaxDeltaPercent
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.MemoryBytes < spill.MinMemoryBytes || c.MemoryBytes > spill.MaxMemoryBytes:
		return fmt.Errorf("publish: MemoryBytes is %d; it must be between %d and %d", c.MemoryBytes, spill.MinMemoryBytes, int64(spill.MaxMemoryBytes))
	case c.TextBytes < 0:
		return fmt.Errorf("publish: TextBytes is %d; it cannot be negative", c.TextBytes)
	case c.Workers < 0:
		return fmt.Errorf("publish: Workers is %d; it cannot be negative", c.Workers)
	case c.AnnounceTimeout < 0:
		return fmt.Errorf("publish: AnnounceTimeout is %v; it cannot be negative", c.AnnounceTimeout)
	case c.MaxDeltas < 1 || c.MaxDeltas > MaxMaxDeltas:
		return fmt.Errorf("publish: MaxDeltas is %d; it must be between 1 and %d", c.MaxDeltas, MaxMaxDeltas)
	case c.MaxDeltaPercent < 1 || c.MaxDeltaPercent > 100:
		return fmt.Errorf("publish: MaxDeltaPercent is %d; it must be between 1 and 100", c.MaxDeltaPercent)
	case len(c.Source) > dataset.MaxSourceBytes:
		return fmt.Errorf("publish: Source has %d bytes, the most is %d", len(c.Source), dataset.MaxSourceBytes)
	}
	return nil
}

// Deps is what a Publisher works with. It closes none of it.
type Deps struct {
	// Store takes objects and version records. It is required.
	Store store.Store
	// Events announces versions; nil if nobody is to be told.
	Events Announcer
	// Catalog indexes versions; nil if there is no catalog.
	Catalog Indexer
}

// Publisher publishes versions of any number of datasets. It may be used by many goroutines at a time; each Publish
// takes memory of its own.
type Publisher struct {
	cfg     Config
	deps    Deps
	history *history.History
	limits  history.Limits

	windows      *input.Windows // of publishes
	patchWindows *input.Windows

	compacting keyed.Mutex
	committing keyed.Mutex // held by patches, and by publishes that lost races
	inflight   inflight.Versions
	claims     claims
	replaced   replaced
}

// New returns a Publisher. It makes sure that there is a folder for temporary files, and removes from it what
// publishers in dead processes have left.
func New(cfg Config, deps Deps) (*Publisher, error) {
	if deps.Store == nil {
		return nil, errors.New("publish: there is no Store")
	}
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.TempDir, 0o700); err != nil {
		return nil, fmt.Errorf("publish: make the folder for temporary files (TempDir): %w", err)
	}
	removed, err := scratch.Clean(cfg.TempDir)
	for _, path := range removed {
		cfg.Log.Info("removed the temporary files of a publisher that died", "folder", path)
	}
	if err != nil {
		cfg.Log.Warn("temporary files of a publisher that died are left", "error", err)
	}
	return &Publisher{
		cfg: cfg, deps: deps, history: history.New(deps.Store, cfg.Workers, cfg.Log),
		limits:  history.Limits{Deltas: cfg.MaxDeltas, Percent: cfg.MaxDeltaPercent},
		windows: input.NewWindows(cfg.MemoryBytes), patchWindows: input.NewPatchWindows(cfg.MemoryBytes),
	}, nil
}

// Publish reads in and makes its records the next version of the dataset called name. When it returns nil the version
// in the Result is committed; on any error but [ErrUnknown] nothing is published. It returns an [*InputError] for an input that is
// refused, [ErrConflict], ctx's error, or what failed in reading, in the temporary folder or in the store.
//
// Content equal to the newest version's makes it verify the objects of that version in the store, and heal what is damaged.
// That reads the compressed bytes of the version once, which takes 0.7 s for each gigabyte that is cached in memory.
//
// Once the version is committed, ctx ending does not stop it from being announced; see Config.AnnounceTimeout.
func (p *Publisher) Publish(ctx context.Context, name string, in Input) (Result, error) {
	p.fill(&in)
	if err := CheckInput(name, in); err != nil {
		return Result{}, err
	}
	newest, err := p.history.Records.Newest(ctx, name)
	if err != nil {
		return Result{}, err
	}
	seed := seedAfter(newest)
	request := requested{id: in.RequestID}
	// Before the body is read: what others commit until then does not count for how far back the search goes.
	if _, _, err := request.find(ctx, p.deps.Store, newest); err != nil {
		return Result{}, err
	}
	folder, err := scratch.New(p.cfg.TempDir)
	if err != nil {
		return Result{}, fmt.Errorf("publish dataset %q: %w", name, err)
	}
	defer p.discard(name, folder)
	d := &draft{
		name: name, in: in, meter: &meter{call: in.Progress}, folder: folder, seed: seed, sorter: p.sorter(seed, folder),
		request: request, owner: rand.Text(),
	}
	defer p.release(ctx, d)
	defer func() { d.close() }() // a draft may change its sorter
	result, err := p.produce(ctx, d)
	if err != nil {
		return Result{}, err
	}
	d.meter.report(PhaseAnnouncing, result.Record.State.Records)
	p.tell(context.WithoutCancel(ctx), &result)
	return result, nil
}

// fill sets what in leaves to the Publisher.
func (p *Publisher) fill(in *Input) {
	if in.Source == "" {
		in.Source = p.cfg.Source
	}
	if in.Progress == nil {
		in.Progress = func(Progress) {}
	}
}

// discard removes temporary files. That it fails is no error of a publish: after the commit the version exists.
func (p *Publisher) discard(name string, folder *scratch.Folder) {
	if left := folder.Close(); left != nil {
		p.cfg.Log.Warn("temporary files are left", "dataset", name, "error", left)
	}
}

// produce makes a version of the draft's input, or finds that the newest version has its content.
func (p *Publisher) produce(ctx context.Context, d *draft) (Result, error) {
	if err := p.ingest(ctx, d.in, d.meter, d.sorter, p.windows); err != nil {
		return Result{}, inputError(d.name, "read the input", err)
	}
	// gofail: var bodyRead struct{}
	result, err := p.commit(ctx, d)
	if refused, ok := errors.AsType[*InputError](err); ok {
		return Result{}, refused // which says all, whatever was being done when it was found
	}
	return result, err
}

// seedAfter returns the seed of the hash of the dataset whose newest version is newest: that of its versions, or a new one.
func seedAfter(newest dataset.VersionRecord) uint64 {
	if newest.Version > 0 {
		return uint64(newest.Seed)
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, its documentation says
	return binary.LittleEndian.Uint64(b[:])
}
