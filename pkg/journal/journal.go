package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

const (
	// DefaultFresh is the default of Config.Fresh.
	DefaultFresh = time.Second
	// maxFresh bounds the use of settings while the number of the newest entry stays the same: an older copy of the store may have
	// another entry with that number.
	maxFresh = time.Minute
	// maxKnown is the number of remembered datasets from which on a Journal adds only those that have entries: the names come from requests.
	maxKnown = 1000
	// announceTimeout bounds the announcement of an entry.
	announceTimeout = 5 * time.Second
)

// Config configures a Journal. The zero Config is usable.
type Config struct {
	// Fresh is how long Settings and Of use settings without a look into the store; 0 means DefaultFresh, a negative value never.
	// Changes by this Journal are seen immediately.
	Fresh time.Duration
	// Log gets the entries that are written; nil means no logging.
	Log *slog.Logger
}

// Deps is what a Journal works with. The Journal closes none of it.
type Deps struct {
	// Store has the journals. It is required.
	Store store.Store
	// Announce sends an entry to the programs that follow: [freshet.dev/pkg/events.SendEntry], with a connection. If it is nil, entries are
	// not announced.
	Announce func(ctx context.Context, e dataset.Entry) error
}

// Journal reads and writes the journals of a store. It is safe for concurrent use.
type Journal struct {
	cfg  Config
	deps Deps

	mu    sync.Mutex // guards known
	known map[string]known
}

// known are the settings of a dataset as of the last look into the store.
type known struct {
	newest  uint64 // the number of the newest entry
	current Current
	looked  time.Time // the time of the last look for newest
	read    time.Time // when the entries were read
}

// New returns the Journal of a store. It starts nothing.
func New(cfg Config, deps Deps) (*Journal, error) {
	if deps.Store == nil {
		return nil, errors.New("journal: Deps has no Store")
	}
	if cfg.Fresh == 0 {
		cfg.Fresh = DefaultFresh
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Journal{cfg: cfg, deps: deps, known: map[string]known{}}, nil
}

// Current are the settings of a dataset.
type Current struct {
	Settings dataset.Settings
	// Entry is the journal entry that made them; the zero Entry if nothing was ever set.
	Entry dataset.Entry
}

// Settings returns the settings of the dataset, the zero Settings if nothing was ever set. It fails with [store.ErrDamaged] if a damaged
// entry may have changed them: see [Change.Replace].
func (j *Journal) Settings(ctx context.Context, name string) (Current, error) {
	j.mu.Lock()
	k, ok := j.known[name]
	j.mu.Unlock()
	if ok && time.Since(k.looked) < j.cfg.Fresh {
		return k.current, nil
	}
	looked := time.Now()
	newest, err := j.deps.Store.NewestEntry(ctx, name)
	if err != nil {
		return Current{}, fmt.Errorf("read the settings of dataset %s: %w", name, err)
	}
	if !ok || newest != k.newest || time.Since(k.read) > maxFresh {
		current, err := j.search(ctx, name, newest)
		if err != nil {
			return Current{}, fmt.Errorf("read the settings of dataset %s: %w", name, err)
		}
		k = known{newest: newest, current: current, read: looked}
	}
	k.looked = looked
	j.remember(name, k)
	return k.current, nil
}

// Of returns the settings of the dataset without their entry, as a publisher uses them.
func (j *Journal) Of(ctx context.Context, name string) (dataset.Settings, error) {
	current, err := j.Settings(ctx, name)
	return current.Settings, err
}

// remember records the settings, unless a concurrent call found later ones.
func (j *Journal) remember(name string, k known) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, ok := j.known[name]
	if ok && before.after(k) {
		return
	}
	if !ok && len(j.known) >= maxKnown {
		maps.DeleteFunc(j.known, func(_ string, k known) bool { return time.Since(k.looked) > maxFresh })
		if len(j.known) >= maxKnown && k.newest == 0 {
			return
		}
	}
	j.known[name] = k
}

// after reports whether k is later than o: the journal of a store only grows. If their looks are further apart than concurrent calls are,
// an older copy may have replaced the store.
func (k known) after(o known) bool {
	a, b := k.current.Entry.StoreID, o.current.Entry.StoreID
	sameStore := a == b || a.IsZero() || b.IsZero()
	if sameStore && k.newest != o.newest && o.looked.Sub(k.looked) < maxFresh {
		return k.newest > o.newest
	}
	return k.looked.After(o.looked)
}

// search returns the settings after the entry newest. It reads backward to the newest entry that changed settings.
func (j *Journal) search(ctx context.Context, name string, newest uint64) (Current, error) {
	e, err := j.newest(ctx, name, newest, dataset.EntrySettings)
	if err == nil && e.Number == 0 {
		return Current{}, nil
	}
	var change dataset.SettingsChange
	if err == nil {
		if change, err = e.SettingsChange(); err != nil {
			err = &store.EntryError{Dataset: name, Number: e.Number, Place: j.deps.Store.EntryPlace(name, e.Number), Err: err}
		}
	}
	if errors.Is(err, store.ErrDamaged) {
		return Current{}, fmt.Errorf("%w, or set all settings again: freshet settings %s --replace --set NAME=VALUE --reason TEXT, "+
			"with a --set for each (over HTTP, PATCH the settings with \"replace\": true)", err, name)
	}
	if err != nil {
		return Current{}, err
	}
	return Current{Settings: change.Settings, Entry: e}, nil
}

// Entries returns the entries of the dataset's journal, as [store.Store].Entries does.
func (j *Journal) Entries(ctx context.Context, name string, from uint64, limit int) ([]dataset.Entry, error) {
	return j.deps.Store.Entries(ctx, name, from, limit)
}
