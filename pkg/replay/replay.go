package replay

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/store"
)

// EntryKind is the kind of the journal entries of replays; their content is an [Entry].
const EntryKind = "replay"

var (
	// ErrInput is returned for a replay that cannot be meant. Nothing was done.
	ErrInput = errors.New("nothing was replayed")
	// ErrUnknownDataset is returned if the dataset has no version, or if a chosen instance does not have it.
	ErrUnknownDataset = errors.New("unknown dataset")
	// ErrUnknownVersion is returned for a version that the dataset does not have.
	ErrUnknownVersion = errors.New("unknown version")
	// ErrNoInstance is returned if no instance has a chosen name, or the labels, or if there are no instances.
	ErrNoInstance = errors.New("no such instance")
	// ErrRequestID is returned if another replay of the dataset has the request id.
	ErrRequestID = errors.New("the request id is that of another replay")
	// ErrNATS is returned if NATS is down. The message says what was done before.
	ErrNATS = errors.New("NATS cannot be used")
)

// Config configures a Replayer. The zero Config is usable.
type Config struct {
	// Namespace is the namespace of the instances.
	Namespace string
	// Log gets the replays; nil means no logging.
	Log *slog.Logger
}

// Deps is what a Replayer works with. All fields are required, and it closes none of them.
type Deps struct {
	Store   store.Store
	Journal *journal.Journal
	NATS    *nats.Conn
}

// Replayer replays versions. It is safe for concurrent use.
type Replayer struct {
	cfg  Config
	deps Deps
}

// New returns a Replayer. It starts nothing.
func New(cfg Config, deps Deps) (*Replayer, error) {
	if deps.Store == nil || deps.Journal == nil || deps.NATS == nil {
		return nil, errors.New("replay: Deps lacks the Store, the Journal or NATS")
	}
	if err := dataset.CheckNamespace(cfg.Namespace); err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Replayer{cfg: cfg, deps: deps}, nil
}

// Audit is who replays and why.
type Audit struct {
	// By is the caller, as it names itself, such as "user@host"; it may be empty. Reason may be empty, too.
	By, Reason string
	// RequestID identifies the replay; a random one is drawn if it is empty.
	RequestID string
}

func (a *Audit) fill() {
	if a.RequestID == "" {
		a.RequestID = rand.Text()
	}
}

func (a Audit) check() error {
	if err := dataset.CheckRequestID(a.RequestID); err != nil {
		return err
	}
	return dataset.CheckAudit(a.By, a.Reason)
}

// Entry is the content of a journal entry about a replay. Either Selection or Subject is set.
type Entry struct {
	// Version is the version that the instances must serve; absent for any. FromVersion is the version since which callbacks get the
	// changes, and of a replay to a subject the first version, and ToVersion its last.
	Version     uint64            `json:"version,omitempty"`
	ID          dataset.VersionID `json:"id,omitzero"`
	FromVersion uint64            `json:"from_version,omitempty"`
	ToVersion   uint64            `json:"to_version,omitempty"`
	// Since selects the versions of a replay to a subject.
	Since time.Time `json:"since,omitzero"`
	Full  bool      `json:"full,omitempty"`
	// Selection chooses the instances; Instances is how many those were.
	Selection *fleet.Selection `json:"selection,omitempty"`
	Instances int              `json:"instances,omitempty"`
	Subject   string           `json:"subject,omitempty"`
}

// same reports whether two entries are about the same request.
func (e Entry) same(o Entry) bool {
	// The instances that a selection chooses, the last version, and the time of "2h ago" change between two calls.
	e.Instances, o.Instances = 0, 0
	if !e.Since.IsZero() && !o.Since.IsZero() {
		e.Since, o.Since, e.FromVersion, o.FromVersion = time.Time{}, time.Time{}, 0, 0
	}
	if e.Subject != "" {
		e.ToVersion, o.ToVersion = 0, 0
	}
	a, errA := json.Marshal(e)
	b, errB := json.Marshal(o)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// String describes the replay: "version 3 to instances with tier=canary (2), full".
func (e Entry) String() string {
	var what string
	switch {
	case e.Subject != "":
		what = fmt.Sprintf("versions %d to %d to subject %s", e.FromVersion, e.ToVersion, e.Subject)
		if e.FromVersion == e.ToVersion {
			what = fmt.Sprintf("version %d to subject %s", e.FromVersion, e.Subject)
		}
		return what
	case e.Version > 0:
		what = fmt.Sprintf("version %d", e.Version)
	default:
		what = "the served version"
	}
	if e.FromVersion > 0 {
		what += fmt.Sprintf(" with the changes since %d", e.FromVersion)
	}
	who := "instances"
	if e.Selection != nil {
		who = e.Selection.String()
	}
	what += fmt.Sprintf(" to %s (%d)", who, e.Instances)
	if e.Full {
		what += ", full"
	}
	return what
}

// DecodeEntry returns the content of a journal entry of the kind [EntryKind].
func DecodeEntry(e dataset.Entry) (Entry, error) {
	var content Entry
	if e.Kind != EntryKind {
		return content, fmt.Errorf("%w: journal entry %s has the kind %s, want %s", dataset.ErrEntry, e.ID(), e.Kind, EntryKind)
	}
	if err := json.Unmarshal(e.Content, &content); err != nil {
		return content, fmt.Errorf("%w: journal entry %s: %w", dataset.ErrEntry, e.ID(), err)
	}
	return content, nil
}

// record writes the replay to the journal, unless an earlier call with the request id did.
func (r *Replayer) record(ctx context.Context, name string, a Audit, content Entry) (journal.Appended, error) {
	appended, err := r.deps.Journal.Append(ctx, name, journal.Note{
		Kind: EntryKind, By: a.By, Reason: a.Reason, RequestID: a.RequestID,
		Content: func(context.Context, uint64) (any, error) { return content, nil },
	})
	if err != nil || !appended.Repeated {
		return appended, err
	}
	earlier, err := DecodeEntry(appended.Entry)
	if err != nil {
		return appended, err
	}
	if !earlier.same(content) {
		return appended, fmt.Errorf("%w: journal entry %d of %s has the id %s, of %s; draw a new id for each replay", ErrRequestID, appended.Entry.Number, name, a.RequestID, earlier)
	}
	return appended, nil
}

// newest returns the number of the newest version of the dataset, which must have one.
func (r *Replayer) newest(ctx context.Context, name string) (uint64, error) {
	if err := dataset.CheckName(name); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInput, err)
	}
	newest, err := store.NewestVersion(ctx, r.deps.Store, name)
	if err == nil && newest == 0 {
		err = fmt.Errorf("%w: dataset %s has no version", ErrUnknownDataset, name)
	}
	return newest, err
}

// ref returns the version with the number and, unless it is empty, an id that begins with id.
func (r *Replayer) ref(ctx context.Context, name string, version uint64, id string, newest uint64) (dataset.Ref, error) {
	if version > newest {
		return dataset.Ref{}, unknownVersion(name, version, newest)
	}
	rec, err := r.deps.Store.Version(ctx, name, version)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return dataset.Ref{}, unknownVersion(name, version, newest)
	case err != nil:
		return dataset.Ref{}, err
	}
	if ref := rec.Ref(); strings.HasPrefix(ref.ID.String(), id) {
		return ref, nil
	}
	return dataset.Ref{}, fmt.Errorf("%w: version %d of %s has the id %s, and not %s", ErrUnknownVersion, version, name, rec.VersionID(), id)
}

func unknownVersion(name string, version, newest uint64) error {
	return fmt.Errorf("%w: dataset %s has no version %d; the newest is %d", ErrUnknownVersion, name, version, newest)
}
