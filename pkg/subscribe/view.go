package subscribe

import (
	"context"
	"fmt"
	"sync/atomic"

	"freshet.dev/pkg/internal/guard"
)

// View is a dataset read as values of a Go type. It may be used from any number of goroutines if its decode function
// may.
//
// A lazy view, the default, decodes a record each time it is got, and keeps nothing. An eager one ([Eager]) keeps a
// value for each record.
type View[V any] struct {
	s      *Subscriber
	name   string
	decode func(key, value []byte) (V, error)
	eager  *eager[V]     // nil if the view is lazy
	told   atomic.Uint64 // the version of which it was said that decode panicked
}

// ViewOption says how a view works.
type ViewOption func(*viewOptions)

type viewOptions struct{ eager bool }

// Eager has a view decode every record once, ahead of its look-ups: all when the first version is served, and then
// those that a version changed. A look-up is that of a map.
//
// The decoding is done on one goroutine of the view's own after a version has been swapped in, so that neither
// refreshes nor [Subscriber.Table] wait for it, and for [Config].Lanes views at a time: decode should wait for nothing.
// The view therefore goes on to a version a little later than the Subscriber does, and then as a whole. Versions that
// come meanwhile are passed over but for the newest. A record that decode fails or panics for is one that Get returns
// that error for; the log and a report tell of it, and the dataset's warning in [Subscriber.Status] for as long as there is
// one.
func Eager() ViewOption { return func(o *viewOptions) { o.eager = true } }

// NewView returns a view of the dataset through decode, which must not change its arguments, nor keep them if a held
// value should not keep the version's memory. It fails with [ErrUnknown], and if the view is eager with [ErrClosed].
func NewView[V any](
	s *Subscriber, name string, decode func(key, value []byte) (V, error), options ...ViewOption,
) (*View[V], error) {
	if s.engine.First(name) == nil {
		return nil, fmt.Errorf("view %q: %w", name, ErrUnknown)
	}
	var o viewOptions
	for _, option := range options {
		option(&o)
	}
	v := &View[V]{s: s, name: name, decode: decode}
	if o.eager {
		v.eager = newEager(v)
		if err := s.register(&callback{dataset: name, what: "an eager view", call: v.eager.swap, unread: v.eager.unread}); err != nil {
			return nil, fmt.Errorf("view %s: %w", name, err)
		}
	}
	return v, nil
}

// Get returns the value of the key in the version that the view has come to. ok is false if the version has no such
// key, or if there is no version yet. The error is that of decode, and ok is true then; a panic in decode is an error
// too, and the first of a version is also logged and reported, with its stack.
func (v *View[V]) Get(key string) (value V, ok bool, err error) {
	if v.eager != nil {
		return v.eager.get(key)
	}
	t := v.s.Table(v.name)
	if t == nil {
		return value, false, nil
	}
	raw, ok := t.GetString(key)
	if !ok {
		return value, false, nil
	}
	value, err = v.decodeOne(t.Version(), []byte(key), raw)
	if err != nil {
		v.tell(t.Version(), err)
	}
	return value, true, err
}

// tell says that decode panicked, once a version: Get returns the same to its caller, but it is for the whole fleet to know
// that a version makes a decoder panic, and where.
func (v *View[V]) tell(version uint64, err error) {
	stack := guard.Stack(err)
	if stack == "" || v.told.Swap(version) == version {
		return
	}
	v.s.cfg.Log.Warn("the decode function of a view panicked; it is said once a version", "dataset", v.name, "version", version,
		"error", err, "stack", stack)
	v.s.reportFailure(v.name, version, err)
}

// Version returns the version that the view has come to, 0 before the first.
func (v *View[V]) Version() uint64 {
	if v.eager != nil {
		return v.eager.version()
	}
	if t := v.s.Table(v.name); t != nil {
		return t.Version()
	}
	return 0
}

// Wait returns when the view has a version. Its errors are those of [Subscriber.Wait].
func (v *View[V]) Wait(ctx context.Context) error {
	if err := v.s.Wait(ctx, v.name); err != nil || v.eager == nil {
		return err
	}
	select {
	case <-v.eager.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the view of %s: %w", v.name, context.Cause(ctx))
	case <-v.s.ctx.Done():
		return fmt.Errorf("wait for the view of %s: %w", v.name, ErrClosed)
	}
}

func (v *View[V]) decodeOne(version uint64, key, raw []byte) (V, error) {
	value, err := v.guarded(key, raw)
	if err != nil {
		var none V
		return none, fmt.Errorf("decode record %q of %s/%d: %w", key, v.name, version, err)
	}
	return value, nil
}

func (v *View[V]) guarded(key, raw []byte) (value V, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = guard.Recovered(r)
		}
	}()
	return v.decode(key, raw)
}
