package publish_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/publish/internal/compact"
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

// The compaction loop compacts existing datasets and those that it is woken for. It reports failures and retries.
func TestCompactLoop(t *testing.T) {
	f := &faulty{}
	r := newRig(t, func(_ *publish.Config, d *publish.Deps) {
		f.Store = d.Store
		d.Store = &unlisted{faulty: f, failures: 2}
	})
	m := numbered(2000)
	patched(t, r, m, 33)
	type report struct {
		name    string
		version uint64
		failed  bool
	}
	done := make(chan report, 10)
	c := r.CompactLoop(compact.LoopConfig{
		Every: time.Hour, Retry: time.Millisecond,
		Done: func(name string, c compact.Compaction, _ time.Duration, err error) {
			done <- report{name, c.Record.Object.Version, err != nil}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	want := func(all ...report) {
		t.Helper()
		for _, want := range all {
			if got := <-done; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	}
	want(report{"", 0, true}, report{"", 0, true}, report{"prices", 34, false})
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
	c.Wake("none")
	c.Wake("prices")
	want(report{"prices", 0, true}, report{"prices", 0, true}, report{"prices", 67, false})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	noTemp(t, r.temp)
}

func TestCompactConfig(t *testing.T) {
	r := newRig(t, nil)
	if _, err := publish.Open(publish.Config{TempDir: r.temp, CompactEvery: -1}, publish.Deps{Store: r.store}); err == nil {
		t.Error("a negative CompactEvery is accepted")
	}
}
