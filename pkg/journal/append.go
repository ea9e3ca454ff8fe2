package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// maxTries is how often Append starts again because another entry came first.
const maxTries = 100

// requestEntries is how many of the last entries Append searches for a RequestID.
const requestEntries = 100

// ErrBusy is returned when other entries of the dataset's journal came first each time; nothing was written.
var ErrBusy = errors.New("other changes of the dataset's journal came first each time")

// Note is an entry to append to the journal of a dataset.
type Note struct {
	// Kind is what the entry is about: see [dataset.Entry].
	Kind string
	// By is who made the change, as the caller names itself, such as "user@host"; it may be empty. Reason is why; it may be empty.
	By, Reason string
	// RequestID is the id of the request, drawn by its caller; it may be empty. If one of the last 100 entries of the journal has it and is of
	// the Kind, an earlier call wrote that entry, and Append writes no second one.
	RequestID string
	// Content returns what the entry says, which becomes a JSON object, if it follows the entry newest, 0 if it is the first. It returns nil
	// if there is nothing to write. Append calls it again after another entry came first.
	Content func(ctx context.Context, newest uint64) (any, error)
}

// Appended is the outcome of Append.
type Appended struct {
	// Entry is the entry in the store; the zero Entry if there was nothing to write.
	Entry dataset.Entry
	// Repeated is true if an earlier call with the RequestID wrote the entry. Its content may be that of another request: compare it.
	Repeated bool
	// Announced reports whether the entry was sent over NATS. NATS may still deny it, if the account may not publish there: it says so only
	// later. Those who follow the events then see the entry within a minute.
	Announced bool
	// Warnings say what failed after the entry was in the store.
	Warnings []string

	newest uint64    // the newest entry that was there before
	looked time.Time // before newest was read
}

// Append adds an entry to the journal of the dataset, which need not have a version, and announces it. It returns the error of Content,
// [ErrBusy], a [dataset.ErrEntry], or an error of the store. After an error that wraps [store.ErrUnknown] the entry may be in the store: a
// call with the same RequestID writes it if it is not.
func (j *Journal) Append(ctx context.Context, name string, n Note) (Appended, error) {
	a, err := j.append(ctx, name, n)
	if err != nil {
		return Appended{}, fmt.Errorf("write to the journal of dataset %s: %w", name, err)
	}
	return a, nil
}

// append is Append with the errors as they are.
func (j *Journal) append(ctx context.Context, name string, n Note) (Appended, error) {
	id, err := j.deps.Store.EnsureID(ctx)
	if err != nil {
		return Appended{}, err
	}
	var unknown *dataset.Entry // of an attempt whose outcome is unknown
	for range maxTries {
		a, err := j.try(ctx, name, n, id, unknown)
		switch {
		case err == nil && !a.Repeated && a.Entry.Number > 0:
			j.cfg.Log.InfoContext(ctx, "journal entry", "dataset", name, "entry", a.Entry.Number, "kind", n.Kind, "by", n.By, "reason", n.Reason,
				"content", string(a.Entry.Content))
			return j.announce(ctx, a), nil
		case err == nil:
			return a, nil
		case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrGap): // another entry came first, or the store was replaced
		case errors.Is(err, store.ErrUnknown) && unknown == nil && ctx.Err() == nil:
			unknown = &a.Entry
		default:
			return Appended{}, err
		}
	}
	return Appended{}, ErrBusy
}

// try makes one attempt. unknown is the entry of an earlier attempt, which may be in the store. With an error, the Appended has the entry
// that was put.
func (j *Journal) try(ctx context.Context, name string, n Note, id dataset.StoreID, unknown *dataset.Entry) (a Appended, err error) {
	a.looked = time.Now()
	if a.newest, err = j.deps.Store.NewestEntry(ctx, name); err != nil {
		return a, err
	}
	if unknown != nil {
		if e, err := j.deps.Store.Entry(ctx, name, unknown.Number); err == nil && e.Sum() == unknown.Sum() {
			a.Entry = e
			return a, nil
		}
	}
	if a.Entry, err = j.earlier(ctx, name, n, a.newest); err != nil || a.Entry.Number > 0 {
		a.Repeated = err == nil
		return a, err
	}
	content, err := n.Content(ctx, a.newest)
	if err != nil || content == nil {
		return a, err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return a, err
	}
	e := dataset.Entry{
		StoreID: id, Dataset: name, Number: a.newest + 1, Kind: n.Kind, Time: time.Now().UTC(),
		By: n.By, Reason: n.Reason, RequestID: n.RequestID, Content: text,
	}
	if _, err := e.Encode(); err != nil {
		return a, err
	}
	a.Entry = e
	return a, j.deps.Store.PutEntry(ctx, e)
}

// earlier returns the entry of an earlier call with the note's RequestID; the zero Entry if there is none among the last entries.
func (j *Journal) earlier(ctx context.Context, name string, n Note, newest uint64) (dataset.Entry, error) {
	if n.RequestID == "" || newest == 0 {
		return dataset.Entry{}, nil
	}
	entries, err := j.deps.Store.Entries(ctx, name, max(newest, requestEntries)-requestEntries+1, requestEntries)
	if _, damaged := errors.AsType[store.EntryErrors](err); err != nil && !damaged {
		return dataset.Entry{}, err
	}
	for _, e := range slices.Backward(entries) {
		if e.RequestID == n.RequestID && e.Kind == n.Kind {
			return e, nil
		}
	}
	return dataset.Entry{}, nil
}

// announce sends the entry over NATS. The end of ctx does not stop it, because the entry is in the store.
func (j *Journal) announce(ctx context.Context, a Appended) Appended {
	if j.deps.Announce == nil {
		return a
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	if err := j.deps.Announce(ctx, a.Entry); err != nil {
		a.Warnings = append(a.Warnings, fmt.Sprintf("the change is in the store, as journal entry %d, and holds; it was not announced: %v; "+
			"programs that follow the events see it when they read the store next", a.Entry.Number, err))
		return a
	}
	a.Announced = true
	return a
}

// Newest returns the newest entry of the dataset's journal that is of one of the kinds; the zero Entry if there is none. It fails with
// [store.ErrDamaged] at a damaged entry that comes first, since that may be of one of the kinds.
func (j *Journal) Newest(ctx context.Context, name string, kinds ...string) (dataset.Entry, error) {
	newest, err := j.deps.Store.NewestEntry(ctx, name)
	if err != nil {
		return dataset.Entry{}, fmt.Errorf("read the journal of dataset %s: %w", name, err)
	}
	e, err := j.newest(ctx, name, newest, kinds...)
	if err != nil {
		return dataset.Entry{}, fmt.Errorf("read the journal of dataset %s: %w", name, err)
	}
	return e, nil
}

// newest reads backward from the entry number to the first entry of one of the kinds.
func (j *Journal) newest(ctx context.Context, name string, number uint64, kinds ...string) (dataset.Entry, error) {
	for ; number > 0; number-- {
		e, err := j.deps.Store.Entry(ctx, name, number)
		if errors.Is(err, store.ErrNotFound) {
			err = &store.EntryError{Dataset: name, Number: number, Place: j.deps.Store.EntryPlace(name, number), Err: err}
		}
		if err != nil || slices.Contains(kinds, e.Kind) {
			return e, err
		}
	}
	return dataset.Entry{}, nil
}
