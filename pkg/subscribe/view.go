package subscribe

import (
	"context"
	"fmt"
	"sync/atomic"

	"freshet.dev/pkg/internal/guard"
)

// View reads a dataset as values of a Go type. Any number of goroutines may use a view if its decode function allows that.
//
// A lazy view, the default, decodes a record in each lookup and keeps nothing. An eager view ([Eager]) keeps a decoded value
// for each record.
type View[V any] struct {
	d        *Dataset
	decode   func(key, value []byte) (V, error)
	eager    *eager[V]       // nil if the view is lazy
	stop     func()          // of an eager view's callback
	ctx      context.Context // of that callback
	reported atomic.Uint64   // the last version for which a panic in decode was reported
}

// ViewOption is an option of [NewView].
type ViewOption func(*viewOptions)

type viewOptions struct{ eager bool }

// Eager makes a view decode every record once, ahead of lookups: all records of the first version, and then those that a
// version changed. A lookup costs as much as that of a map.
//
// The view decodes on its own goroutine after a version has been swapped in. Neither refreshes nor [Dataset.Table] wait for
// it. At most [Config].Lanes views decode at a time, so decode should not wait for anything. The view moves to a version as a
// whole, a little later than the Dataset; of the versions that arrive while it decodes only the newest is decoded.
//
// If decode fails or panics for a record, Get returns that error for its key. The log and a report name it, and the dataset's
// warning in [Dataset.Status] stays for as long as the view has such a record.
func Eager() ViewOption { return func(o *viewOptions) { o.eager = true } }

// NewView returns a view of the dataset through decode. decode must not modify its arguments. Keeping them
// costs memory as [Dataset.Get] describes.
//
// An eager view runs until [View.Close] or [Subscriber.Close]; after the latter NewView returns an [ErrClosed]. A lazy view
// has nothing to close, and NewView returns no error for it.
func NewView[V any](d *Dataset, decode func(key, value []byte) (V, error), options ...ViewOption) (*View[V], error) {
	var o viewOptions
	for _, option := range options {
		option(&o)
	}
	v := &View[V]{d: d, decode: decode}
	if o.eager {
		v.eager = newEager(v)
		c := &callback{what: "an eager view", call: v.eager.swap, decodeErr: v.eager.decodeErr}
		var err error
		if v.stop, err = d.register(c); err != nil {
			return nil, fmt.Errorf("view dataset %s: %w", d.name, err)
		}
		v.ctx = c.ctx
	}
	return v, nil
}

// Close ends the goroutine of an eager view without waiting for decode. The view stays readable at its last version.
func (v *View[V]) Close() {
	if v.stop != nil {
		v.stop()
	}
}

// Get returns the value of the key in the view's version. ok is false without an error if the version has no such record.
// Before the first version the error is an [ErrNoVersion]. Otherwise the error is that of decode, with ok true; a panic in
// decode is an error too. The first panic of a version is also logged and reported, with its stack.
func (v *View[V]) Get(key string) (value V, ok bool, err error) {
	if v.eager != nil {
		return v.eager.get(key)
	}
	t := v.d.Table()
	if t == nil {
		return value, false, v.d.none()
	}
	raw, ok := t.GetString(key)
	if !ok {
		return value, false, nil
	}
	value, err = v.decodeRecord(t.Version(), []byte(key), raw)
	if err != nil {
		v.reportPanic(t.Version(), err)
	}
	return value, true, err
}

// reportPanic logs and reports the first panic in decode of a version. Get returns the error to its caller too, but the
// operators of the fleet must learn that a version makes a decoder panic, and where.
func (v *View[V]) reportPanic(version uint64, err error) {
	if guard.Stack(err) == "" || v.reported.Swap(version) == version {
		return
	}
	v.d.s.events.DecodeFailed(DecodeFailure{Dataset: v.d.name, Version: version, Err: err})
}

// Version returns the view's version, 0 before the first.
func (v *View[V]) Version() uint64 {
	if v.eager != nil {
		return v.eager.version()
	}
	if t := v.d.Table(); t != nil {
		return t.Version()
	}
	return 0
}

// Wait returns nil as soon as the view has a version. Its errors are those of [Dataset.Wait]; after [View.Close] the error is an
// [ErrClosed].
func (v *View[V]) Wait(ctx context.Context) error {
	if v.eager == nil {
		return v.d.Wait(ctx)
	}
	select {
	case <-v.eager.first:
		return nil
	default:
	}
	if err := v.d.Wait(ctx); err != nil {
		return err
	}
	select {
	case <-v.eager.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the view of dataset %s: %w", v.d.name, context.Cause(ctx))
	case <-v.ctx.Done():
		return fmt.Errorf("wait for the view of dataset %s: %w", v.d.name, ErrClosed)
	}
}

func (v *View[V]) decodeRecord(version uint64, key, raw []byte) (V, error) {
	value, err := v.tryDecode(key, raw)
	if err != nil {
		var none V
		return none, fmt.Errorf("decode record %q of %s/%d: %w", key, v.d.name, version, err)
	}
	return value, nil
}

func (v *View[V]) tryDecode(key, raw []byte) (value V, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = guard.Recovered(r)
		}
	}()
	return v.decode(key, raw)
}
