package publish_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/publish"
)

// unlisted is a store that cannot list its datasets at first.
type unlisted struct {
	*faulty
	failures int
}

func (u *unlisted) Datasets(ctx context.Context) ([]string, error) {
	if u.failures--; u.failures >= 0 {
		return nil, errors.New("timed out")
	}
	return u.faulty.Datasets(ctx)
}

// A Compactor compacts what was there before it, and what it is asked to look at; what fails it tells, and tries again by
// itself.
func TestCompactor(t *testing.T) {
	f := &faulty{}
	r := newRig(t, func(_ *publish.Config, d *publish.Deps) {
		f.Store = d.Store
		d.Store = &unlisted{faulty: f, failures: 2}
	})
	m := numbered(2000)
	patched(t, r, m, 33)
	type told struct {
		name    string
		version uint64
		failed  bool
	}
	done := make(chan told, 10)
	c, err := publish.NewCompactor(r.Publisher, publish.CompactorConfig{
		Every: time.Hour, Retry: time.Millisecond,
		Done: func(name string, c publish.Compaction, _ time.Duration, err error) {
			done <- told{name, c.Record.Object.Version, err != nil}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	want := func(all ...told) {
		t.Helper()
		for _, want := range all {
			if got := <-done; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	}
	want(told{"", 0, true}, told{"", 0, true}, told{"prices", 34, false})
	for i := range 33 {
		m.set(100+i, -i)
		if _, err := r.Patch(t.Context(), "prices", patch(m[fmt.Sprint(100+i)])); err != nil {
			t.Fatal(err)
		}
	}
	failures := 0
	f.putObject = func(context.Context) error {
		switch failures++; failures {
		case 1:
			panic("on fire")
		case 2:
			return errors.New("no space left")
		}
		return nil
	}
	c.Look("none")
	c.Look("prices")
	want(told{"prices", 0, true}, told{"prices", 0, true}, told{"prices", 67, false})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	noTemp(t, r.temp)
}

func TestCompactorConfig(t *testing.T) {
	r := newRig(t, nil)
	for _, cfg := range []publish.CompactorConfig{{Every: -1}, {Retry: -1}} {
		if _, err := publish.NewCompactor(r.Publisher, cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
