package load

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// The error of a failed try is reported until another succeeds or none is needed. A version that a later refresh cached does not count
// as failed.
func TestFailedShorteningIsToldUntilOneSucceeds(t *testing.T) {
	c := newChain(t)
	root := t.TempDir()
	c.loader.Cache = cachedir.New(root)
	defer c.loader.Cache.Close()
	s := NewShortener(c.loader.Cache)
	c.loader.Shortener = s
	ctx, stop := context.WithCancel(t.Context())
	tries, ended := make(chan error), make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(_ string, err error) {
			select {
			case tries <- err:
			case <-ctx.Done():
			}
		})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	// Another process has the folder, with nothing in it.
	other := cachedir.New(root)
	if err := other.Own(); err != nil {
		t.Fatal(err)
	}
	v, err := c.loader.Load(t.Context(), c.rec, c.served(), nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Finish(true); !errors.Is(err, cachedir.ErrShared) {
		t.Fatalf("got %v, want ErrShared", err)
	}
	err = <-tries
	runtime.KeepAlive(v.Value) // as the engine does
	if !errors.Is(err, cachedir.ErrShared) || !errors.Is(s.Failed("prices"), cachedir.ErrShared) {
		t.Fatalf("the try failed with %v, and %v is reported", err, s.Failed("prices"))
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}

	// The next refresh returns no error, and the next try succeeds.
	v, err = c.loader.Load(t.Context(), c.rec, c.served(), nothing)
	if err == nil {
		err = v.Finish(true)
	}
	if err != nil {
		t.Fatal(err)
	}
	for err = <-tries; errors.Is(err, cachedir.ErrShared); { // a try may have begun before
		err = <-tries
	}
	if err != nil || s.Failed("prices") != nil {
		t.Fatalf("the try failed with %v, and %v is reported", err, s.Failed("prices"))
	}
	runtime.KeepAlive(v.Value) // as the engine does

	// A failed try that a full load made needless is not reported either.
	s.failed["prices"] = shortenFail{err: cachedir.ErrShared}
	v, err = c.loader.Load(t.Context(), c.first.Record, nil, nothing)
	if err == nil {
		err = v.Finish(true)
	}
	if err != nil || s.Failed("prices") != nil {
		t.Errorf("after a full load %v is reported: %v", s.Failed("prices"), err)
	}
}
