package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/relays"
)

var (
	// errOther: the relay reads another store than the one that this relay answers for.
	errOther = errors.New("it reads another store")
	// errUnproven: the relay does not name its store, which it cannot read now.
	errUnproven = errors.New("it does not name its store")
)

// said is a relay's answer to a question about its store.
type said struct {
	store  dataset.StoreID // zero: the relay names none
	record dataset.VersionRecord
	none   bool // it was a 404
}

// Newest returns the record of the dataset's newest version, or store.ErrNotFound, and the store that the relay named with
// it: zero if it named none. The first relay in the order that reads the origin's store decides, see [Origin.ID].
func (o *Origin) Newest(ctx context.Context, name string) (dataset.VersionRecord, dataset.StoreID, error) {
	s, err := o.oneStore(ctx, []byte(name), func(q question) (said, error) {
		a, err := q.ask(http.MethodGet, "/v1/datasets/"+name+"/latest", nil)
		if err != nil {
			return said{store: named(err)}, err
		}
		defer a.Close()
		s := said{store: storeOf(a.res)}
		text, err := io.ReadAll(io.LimitReader(a, dataset.MaxRecordBytes+1))
		if err != nil {
			return s, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		if len(text) > dataset.MaxRecordBytes {
			return s, fmt.Errorf("%w: a version record of more than %d bytes", ErrAnswer, dataset.MaxRecordBytes)
		}
		if s.record, err = dataset.DecodeVersionRecord(text); err == nil && s.record.Dataset != name {
			err = fmt.Errorf("it is about dataset %q", s.record.Dataset)
		}
		if err != nil {
			return s, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		o.served(q.relay)
		return s, nil
	})
	return s.record, s.store, err
}

// ID returns the id of the store that the answers of the origin are of; [store.ErrNotFound] if it has none. It is the store that the
// first answer named. It changes when every relay that is up names another one: the store was exchanged. A relay that is busy or silent
// prevents that. A relay of another store is passed over, logged once and counted, so that the origin never names one store and answers from another.
func (o *Origin) ID(ctx context.Context) (dataset.StoreID, error) {
	s, err := o.oneStore(ctx, []byte("store"), func(q question) (said, error) {
		a, err := q.ask(http.MethodGet, "/v1/store", nil)
		if err != nil {
			return said{}, err // a relay of v0.1 does not know the path
		}
		defer a.Close()
		var answer struct {
			Store dataset.StoreID `json:"store"`
		}
		if err := json.NewDecoder(io.LimitReader(a, dataset.MaxRecordBytes)).Decode(&answer); err != nil {
			return said{}, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		if answer.Store.IsZero() {
			return said{}, absent{}
		}
		return said{store: answer.Store}, nil
	})
	return s.store, err
}

// oneStore asks the relays in the order for key until one answers that reads the origin's store. Without such a relay, an answer that
// names no store is returned: it proves nothing. Answers of another store count only if every relay that is up names that one.
func (o *Origin) oneStore(ctx context.Context, key []byte, ask func(question) (said, error)) (said, error) {
	var answer said
	var others, unproven []said
	none := false // a relay of the origin's store says that there is none
	err := o.first(ctx, key, func(q question) error {
		s, err := ask(q)
		if err != nil && !errors.Is(err, errNone) {
			return err
		}
		s.none = err != nil
		switch o.judge(q.relay, s.store) {
		case foreign:
			others = append(others, s)
			return fmt.Errorf("%w, %s", errOther, s.store)
		case nameless:
			unproven = append(unproven, s)
			if !s.none {
				err = errUnproven
			}
			return err
		}
		answer, none = s, none || s.none
		return err
	})
	switch {
	case err == nil, none, errors.Is(context.Cause(ctx), context.Canceled):
		return answer, err
	case len(unproven) > 0:
		return pick(unproven, err)
	case errors.Is(err, ErrBusy), errors.Is(err, ErrAnswer), errors.Is(err, errSilent), ctx.Err() != nil:
		return said{}, err // a relay that is there may read the origin's store
	case len(others) == 0 || slices.ContainsFunc(others, func(s said) bool { return s.store != others[0].store }):
		return said{}, err
	}
	o.follow(others[0].store)
	return pick(others, err)
}

// pick returns the first answer that is not a 404, or else err.
func pick(all []said, err error) (said, error) {
	if i := slices.IndexFunc(all, func(s said) bool { return !s.none }); i >= 0 {
		return all[i], nil
	}
	return all[0], err
}

// The kinds of an answer, by the store that it names.
type kind int

const (
	own      kind = iota // of the origin's store
	foreign              // of another store
	nameless             // of a store that cannot be read, or that has no id
)

// judge returns the kind of an answer that names the store id. The first id that is named becomes the origin's. Before that, every
// answer is the origin's own: relays of v0.1 name none.
func (o *Origin) judge(r *relays.Relay, id dataset.StoreID) kind {
	o.mu.Lock()
	if o.store.IsZero() {
		o.store = id
	}
	ours := o.store
	o.mu.Unlock()
	switch {
	case id == ours:
		o.seen[r].other.Store(nil)
		return own
	case id.IsZero():
		return nameless
	}
	if last := o.seen[r].other.Swap(&id); last == nil || *last != id {
		o.cfg.Log.Warn("a relay upstream reads another store than this relay answers for, and is passed over for newest versions; "+
			"let all relays that FRESHET_STORE_URL names read one store", "upstream", r.String(), "store", id.String(), "own_store", ours.String())
	}
	return foreign
}

// follow makes the store that all relays name the origin's.
func (o *Origin) follow(id dataset.StoreID) {
	o.mu.Lock()
	before := o.store
	o.store = id
	o.mu.Unlock()
	if before == id {
		return // a concurrent question was first
	}
	for _, s := range o.seen {
		s.other.Store(nil)
	}
	o.cfg.Log.Warn("every relay upstream that answers reads another store than before; this relay answers for that store from now on",
		"store", id.String(), "store_before", before.String())
}

// seen is what was seen of a relay.
type seen struct {
	busy  atomic.Int64                    // how often it said so
	other atomic.Pointer[dataset.StoreID] // the store that it reads, if that is not the origin's
}

// absent is the answer 404.
type absent struct {
	store dataset.StoreID // as the answer names it
}

func (absent) Error() string        { return errNone.Error() }
func (absent) Is(target error) bool { return target == errNone }

// named returns the store that a 404 names.
func named(err error) dataset.StoreID {
	var a absent
	errors.As(err, &a)
	return a.store
}

// storeOf returns the store that an answer names; zero if it names none.
func storeOf(res *http.Response) (id dataset.StoreID) {
	if id.UnmarshalText([]byte(res.Header.Get(pull.StoreHeader))) != nil {
		return dataset.StoreID{}
	}
	return id
}
