package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pollEvery is the interval at which an instance's status and records are read.
const pollEvery = 40 * time.Millisecond

// follower is an instance that is polled from its first start to the end of the test.
type follower struct {
	*program
	name, dataset string
	cache         string // empty: it has none
	up            atomic.Bool

	mu    sync.Mutex
	seen  []claim // guarded by mu
	stops func()
}

// said is the version that an instance reports to serve.
type said struct {
	Store, ID, State, Error string
	Version                 uint64
}

func (s said) String() string {
	return fmt.Sprintf("it says %s on version %d with id %q of store %q (%s)", s.State, s.Version, s.ID, s.Store, s.Error)
}

// claim is an instance's report, the same before and after it answered all records, with the digest of the records.
type claim struct {
	said
	from, to time.Time
	content  digest
}

// says queries the dataset's status in the instance.
func (i *follower) says(ctx context.Context) (said, error) {
	code, _, body, err := do(ctx, http.MethodGet, i.URL+"/v1/status", "", nil)
	if err != nil {
		return said{}, err
	}
	var answer struct {
		Store    string
		Datasets []struct {
			said
			Dataset string
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || code != http.StatusOK {
		return said{}, fmt.Errorf("%d %.200s: %v", code, body, err)
	}
	for _, d := range answer.Datasets {
		if d.Dataset == i.dataset {
			d.said.Store = answer.Store
			return d.said, nil
		}
	}
	return said{}, fmt.Errorf("the status does not tell of %s: %s", i.dataset, body)
}

func (i *follower) start() {
	i.Start()
	i.up.Store(true)
}

func (i *follower) stop() {
	i.up.Store(false)
	i.Stop()
}

// polled starts polling the instance until unpolled is called or the test ends.
func (i *follower) polled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if !i.up.Load() {
				continue
			}
			c, ok, err := i.poll(ctx)
			if err != nil && i.up.Load() && ctx.Err() == nil {
				t.Errorf("%s does not answer: %v", i.name, err)
			}
			if ok {
				i.mu.Lock()
				i.seen = append(i.seen, c)
				i.mu.Unlock()
			}
		}
	})
	i.stops = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(i.stops)
}

func (i *follower) unpolled() { i.stops() }

// poll returns the instance's claim. ok is false if the status changed during the poll, or if the instance serves no version.
func (i *follower) poll(ctx context.Context) (c claim, ok bool, err error) {
	c.from = time.Now()
	if c.said, err = i.says(ctx); err != nil || c.Version == 0 {
		return c, false, err
	}
	b, err := batchGet(ctx, i.program, i.dataset, keysOf(restoreKeys))
	if err != nil {
		return c, false, err
	}
	after, err := i.says(ctx)
	c.to = time.Now()
	before := c.said
	before.Error, after.Error = "", "" // the text changes with each attempt
	text, failed := json.Marshal(b.Records)
	c.content = sha256.Sum256(text)
	return c, before == after && b.Version == c.Version, errors.Join(err, failed)
}

// claims returns the claims polled so far.
func (i *follower) claims() []claim {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]claim(nil), i.seen...)
}

// exitCode returns the exit code of a program that ended with the error; 0 without one, -1 if it did not run to its end.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		return ended.ExitCode()
	}
	return -1
}

// readJSON decodes the file into v.
func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
}
