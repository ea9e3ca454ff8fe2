package subscribe

import (
	"fmt"

	"freshet.dev/pkg/subscribe/internal/guard"
)

// View is a dataset read as values of a Go type. It decodes a record each time it is got, and keeps nothing. It may
// be used from any number of goroutines if its decode function may.
type View[V any] struct {
	s      *Subscriber
	name   string
	decode func(key, value []byte) (V, error)
}

// NewView returns a view of the dataset through decode, which must not change its arguments, nor keep them if a held
// value should not keep the version's memory. It fails with [ErrUnknown].
func NewView[V any](s *Subscriber, name string, decode func(key, value []byte) (V, error)) (*View[V], error) {
	if s.engine.First(name) == nil {
		return nil, fmt.Errorf("view %q: %w", name, ErrUnknown)
	}
	return &View[V]{s: s, name: name, decode: decode}, nil
}

// Get returns the value of the key in the version that is served now. ok is false if the version has no such key, or
// if no version is served yet. The error is that of decode, and ok is true then; a panic in decode is an error too.
func (v *View[V]) Get(key string) (value V, ok bool, err error) {
	t := v.s.Table(v.name)
	if t == nil {
		return value, false, nil
	}
	raw, ok := t.GetString(key)
	if !ok {
		return value, false, nil
	}
	value, err = v.decodeOne([]byte(key), raw)
	if err != nil {
		return value, true, fmt.Errorf("decode record %q of %s/%d: %w", key, v.name, t.Version(), err)
	}
	return value, true, nil
}

func (v *View[V]) decodeOne(key, raw []byte) (value V, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = guard.Recovered(r)
		}
	}()
	return v.decode(key, raw)
}
