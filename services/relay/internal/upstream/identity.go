package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/store"
)

// Newest returns the record of the dataset's newest version, or [store.ErrNotFound], and the store that the relay named
// with it; zero if it named none. The answer is that of the first relay in order that reads the origin's store, see
// [Origin.ID].
func (o *Origin) Newest(ctx context.Context, name string) (dataset.VersionRecord, dataset.StoreID, error) {
	a, err := o.oneStore(ctx, func(accept pull.Accept) error { return o.client.LatestInOrder(ctx, name, accept) })
	return a.Record, a.Store, err
}

// Pins returns the pins of the dataset, as the first relay in order that reads the origin's store answers. It fails with
// [store.ErrNotFound] if all relays are of releases that do not know pins.
func (o *Origin) Pins(ctx context.Context, name string) (pins dataset.Pins, err error) {
	a, err := o.oneStore(ctx, func(accept pull.Accept) (err error) {
		pins, err = o.client.PinsInOrder(ctx, name, accept)
		return err
	})
	switch {
	case err != nil:
		return dataset.Pins{}, err
	case a.none:
		return dataset.Pins{}, store.ErrNotFound
	case pins.Dataset == "": // the origin follows another store from now on; the answer was read before that
		return dataset.Pins{}, fmt.Errorf("%w: they read another store than before", ErrBusy)
	}
	return pins, nil
}

// Record returns the record of one version of the dataset, as the first relay in order that reads the origin's store answers. It fails with
// [store.ErrNotFound] if that store has no such version, or if all relays are of releases that do not answer such queries.
func (o *Origin) Record(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	a, err := o.oneStore(ctx, func(accept pull.Accept) error { return o.client.VersionInOrder(ctx, name, version, accept) })
	switch {
	case err != nil:
		return dataset.VersionRecord{}, err
	case a.none:
		return dataset.VersionRecord{}, store.ErrNotFound
	}
	return a.Record, nil
}

// ID returns the id of the store of the origin's answers, or [store.ErrNotFound] if that store has none.
//
// The first answer that names a store decides. The store changes when every relay that is up names another one, because
// the store was replaced; a relay that is busy or silent prevents that. A relay of another store is skipped, logged once
// and counted, so that the origin never names one store and answers from another.
func (o *Origin) ID(ctx context.Context) (dataset.StoreID, error) {
	a, err := o.oneStore(ctx, func(accept pull.Accept) error { return o.client.StoreInOrder(ctx, accept) })
	return a.Store, err
}

// answer is a relay's answer for its store; none is true for a 404.
type answer struct {
	pull.Newest
	none bool
}

// oneStore queries the relays until one answers that reads the origin's store. Otherwise the result is:
//
//   - an answer that names no store, which proves nothing;
//   - an answer of another store, if every relay that is up names that store, which becomes the origin's.
func (o *Origin) oneStore(ctx context.Context, query func(pull.Accept) error) (answer, error) {
	var own answer
	var others, unproven []answer
	none := false // a relay of the origin's store answered 404
	err := query(func(n pull.Newest, isNone bool) error {
		a := answer{n, isNone}
		switch err := o.compare(n); {
		case errors.Is(err, errOther):
			others = append(others, a)
			return err
		case err != nil:
			unproven = append(unproven, a)
			if !isNone {
				return err
			}
			return nil
		}
		own, none = a, none || isNone
		return nil
	})
	err = failed(ctx, err, false)
	switch {
	case err == nil, none, errors.Is(context.Cause(ctx), context.Canceled):
		return own, err
	case len(unproven) > 0:
		return pick(unproven, err)
	case errors.Is(err, ErrBusy), errors.Is(err, ErrAnswer), errors.Is(err, pull.ErrStalled), ctx.Err() != nil:
		return answer{}, err // a relay that is up may read the origin's store
	case len(others) == 0 || slices.ContainsFunc(others, func(a answer) bool { return a.Store != others[0].Store }):
		return answer{}, err
	}
	o.follow(others[0].Store)
	return pick(others, err)
}

// pick returns the first answer that is not a 404, or the first answer and err.
func pick(all []answer, err error) (answer, error) {
	if i := slices.IndexFunc(all, func(a answer) bool { return !a.none }); i >= 0 {
		return all[i], nil
	}
	return all[0], err
}

// compare returns errOther or errUnproven if the answer is not from the origin's store. The first store that a relay names
// becomes the origin's. Until then every answer is from the origin's store, because relays of v0.1 name none.
func (o *Origin) compare(n pull.Newest) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store.IsZero() {
		o.store = n.Store
	}
	switch n.Store {
	case o.store:
		delete(o.other, n.Relay)
		return nil
	case dataset.StoreID{}:
		return errUnproven
	}
	if last, ok := o.other[n.Relay]; !ok || last != n.Store {
		o.other[n.Relay] = n.Store
		o.log.Warn("a relay upstream reads another store than this relay answers for, and is skipped for newest versions; "+
			"let all relays in FRESHET_STORE_URL read one store", "upstream", n.Relay, "store", n.Store.String(), "own_store", o.store.String())
	}
	return fmt.Errorf("%w, %s", errOther, n.Store)
}

// follow makes the store that all relays name the origin's.
func (o *Origin) follow(id dataset.StoreID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.store
	if before == id {
		return // a concurrent query was faster
	}
	o.store = id
	clear(o.other)
	o.log.Warn("every relay upstream that answers reads another store than before; this relay answers for that store from now on",
		"store", id.String(), "store_before", before.String())
}
