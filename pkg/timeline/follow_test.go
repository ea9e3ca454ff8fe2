package timeline_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/timeline"
)

// following is a running Follow, whose test receives the events.
type following struct {
	events  chan string
	changes chan string
	fails   chan error
	ended   chan error
	cancel  context.CancelFunc
}

// follow begins to follow. Each read first takes an error from broken, if there is one.
func (h history) follow(q timeline.Query, broken *[]error) following {
	ctx, cancel := context.WithCancel(h.t.Context())
	f := following{events: make(chan string, 100), changes: make(chan string), fails: make(chan error, 100), ended: make(chan error, 1), cancel: cancel}
	read := func(ctx context.Context, q timeline.Query, yield func(timeline.Event) error) (timeline.Positions, error) {
		if broken != nil && len(*broken) > 0 {
			err := (*broken)[0]
			*broken = (*broken)[1:]
			if err != nil {
				return nil, err
			}
		}
		after, _, err := timeline.NewReader(h.st).Read(ctx, q, yield)
		return after, err
	}
	go func() {
		f.ended <- timeline.Follow(ctx, q, read, f.changes, func(e timeline.Event) error { f.events <- name(e); return nil }, func(err error) { f.fails <- err })
	}()
	return f
}

// take returns the events since the last take. All goroutines of the test's bubble must be blocked.
func (f following) take() string {
	synctest.Wait()
	var all []string
	for len(f.events) > 0 {
		all = append(all, <-f.events)
	}
	return strings.Join(all, " ")
}

func (f following) end(t *testing.T) {
	t.Helper()
	f.cancel()
	if err := <-f.ended; err != nil {
		t.Errorf("Follow ends with %v", err)
	}
}

// The history and the live events meet without a loss and without a repeat, whatever the changes report.
func TestFollow(t *testing.T) {
	h := example(t)
	synctest.Test(t, func(t *testing.T) {
		h := history{t, h.st} // the context of the outer test does not belong to the bubble
		f := h.follow(timeline.Query{Since: noon.Add(50 * time.Minute)}, nil)
		defer f.end(t)
		expect := func(want string) {
			t.Helper()
			if got := f.take(); got != want {
				t.Errorf("the events are %q, want %q", got, want)
			}
		}
		expect("") // before the subscriptions are active
		f.changes <- ""
		expect("a3 c.1")
		h.version("a", 4, 70)
		f.changes <- "a"
		expect("a4")
		f.changes <- "a"
		f.changes <- ""
		expect("")
		h.version("b", 2, 71)
		h.version("b", 3, 72)
		h.entry("b", 2, 73)
		f.changes <- "b"
		expect("b2 b3 b.2")
		h.entry("new", 1, 74)
		h.version("new", 1, 75)
		f.changes <- "new"
		expect("new.1 new1")
		f.changes <- "elsewhere" // the dataset of another store
		expect("")
		h.version("a", 5, 76)
		h.entry("d", 1, 77)
		f.changes <- ""
		expect("a5 d.1")
		h.entry("a", 2, 78) // it was not announced
		time.Sleep(2 * time.Minute)
		expect("a.2")
	})
}

// A read that fails is repeated, and counts for what it passed on.
func TestFollowRetries(t *testing.T) {
	h := example(t)
	synctest.Test(t, func(t *testing.T) {
		h := history{t, h.st} // the context of the outer test does not belong to the bubble
		down := errors.New("the publisher is down")
		broken := []error{nil, down, down}
		f := h.follow(timeline.Query{Dataset: "a"}, &broken)
		defer f.end(t)
		f.changes <- ""
		if got := f.take(); got != "a.1 a1 a2 a3" {
			t.Errorf("%s", got)
		}
		h.version("a", 4, 70)
		f.changes <- "a"
		if got := f.take(); got != "" || len(f.fails) != 1 {
			t.Errorf("%q, %d failures", got, len(f.fails))
		}
		time.Sleep(5 * time.Second)
		if got := f.take(); got != "a4" || len(f.fails) != 2 {
			t.Errorf("%q, %d failures", got, len(f.fails))
		}
	})
}

// If the read of all datasets fails, those that have changed are read nevertheless, and the events come once.
func TestFollowWithoutASweep(t *testing.T) {
	h := example(t)
	synctest.Test(t, func(t *testing.T) {
		h := history{t, h.st} // the context of the outer test does not belong to the bubble
		tooMany := errors.New("too many datasets")
		var broken []error
		f := h.follow(timeline.Query{}, &broken)
		defer f.end(t)
		f.changes <- ""
		if got := f.take(); got != "a.1 a1 b1 a2 b.1 a3 c.1" {
			t.Errorf("%s", got)
		}
		h.version("a", 4, 70)
		h.version("b", 2, 71)
		broken = []error{tooMany, tooMany, nil, tooMany}
		f.changes <- ""
		f.changes <- "a"
		if got := f.take(); got != "a4" {
			t.Errorf("%q", got)
		}
		time.Sleep(5 * time.Second)
		if got := f.take(); got != "b2" || len(f.fails) != 3 {
			t.Errorf("%q, %d failures", got, len(f.fails))
		}
	})
}

func TestFollowEnds(t *testing.T) {
	h := example(t)
	synctest.Test(t, func(t *testing.T) {
		h := history{t, h.st}                  // the context of the outer test does not belong to the bubble
		h.follow(timeline.Query{}, nil).end(t) // before the first change
		down := errors.New("the publisher is down")
		broken := []error{down}
		f := h.follow(timeline.Query{}, &broken)
		f.changes <- ""
		if err := <-f.ended; !errors.Is(err, down) {
			t.Errorf("the first read fails: %v", err)
		}
		f.cancel()
		changes := make(chan string, 1)
		changes <- ""
		stop := errors.New("no more")
		read := func(ctx context.Context, q timeline.Query, yield func(timeline.Event) error) (timeline.Positions, error) {
			after, _, err := timeline.NewReader(h.st).Read(ctx, q, yield)
			return after, err
		}
		if err := timeline.Follow(t.Context(), timeline.Query{}, read, changes, func(timeline.Event) error { return stop }, func(error) {}); !errors.Is(err, stop) {
			t.Errorf("the caller stops: %v", err)
		}
	})
}
