package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a catalog that records its calls with their time on the bubble's clock.
type memory struct {
	mu    sync.Mutex // guards the following fields
	began time.Time
	calls []string
	err   error
	hang  bool // until the context ends
}

func (m *memory) call(ctx context.Context, what string) error {
	m.mu.Lock()
	m.calls = append(m.calls, fmt.Sprintf("%s at %v", what, time.Since(m.began)))
	hang, err := m.hang, m.err
	m.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (m *memory) RecordInstance(ctx context.Context, id string, status []byte) error {
	return m.call(ctx, id+"="+string(status))
}

func (m *memory) ForgetInstance(ctx context.Context, id string) error {
	return m.call(ctx, "forget "+id)
}

func (m *memory) set(hang bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hang, m.err = hang, err
}

// expect fails the test unless the calls since the last expect were want.
func (m *memory) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if got := strings.Join(m.calls, ", "); got != strings.Join(want, ", ") {
		t.Errorf("the calls are %s, want %s", got, strings.Join(want, ", "))
	}
	m.calls = nil
}

// keep runs a keeper in the bubble. Its log goes to the buffer, which is read once stop has returned.
func keep(t *testing.T) (k *Keeper, m *memory, log *bytes.Buffer, stop func()) {
	m, log = &memory{began: time.Now()}, new(bytes.Buffer)
	k = New(m, "a", func() ([]byte, error) { return []byte("s"), nil }, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	return k, m, log, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Invariant: the record is written every ten seconds, after a change at once, and at most once a second. It is removed when the
// instance ends.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, m, log, stop := keep(t)
		m.expect(t, "a=s at 0s")
		time.Sleep(25 * time.Second)
		m.expect(t, "a=s at 10s", "a=s at 20s")
		for range 1000 {
			k.Changed()
		}
		m.expect(t, "a=s at 25s")
		for range 30 { // for three seconds
			k.Changed()
			time.Sleep(100 * time.Millisecond)
		}
		m.expect(t, "a=s at 26s", "a=s at 27s", "a=s at 28s")
		time.Sleep(1500 * time.Millisecond)
		m.expect(t)
		stop()
		m.expect(t, "forget a at 29.5s")
		if log.Len() > 0 {
			t.Errorf("the log says %s", log)
		}
	})
}

// The log says once that Redis is down, and once that it works again.
func TestRedisDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, m, log, stop := keep(t)
		m.expect(t, "a=s at 0s")
		m.set(false, errors.New("connection refused"))
		time.Sleep(35 * time.Second)
		k.Changed()
		m.expect(t, "a=s at 10s", "a=s at 20s", "a=s at 30s", "a=s at 35s")
		m.set(false, nil)
		time.Sleep(11 * time.Second)
		m.expect(t, "a=s at 45s")
		m.set(false, errors.New("connection refused"))
		time.Sleep(10 * time.Second)
		m.expect(t, "a=s at 55s")
		stop()
		m.expect(t)
		if got := log.String(); strings.Count(got, "WARN") != 2 || strings.Count(got, "INFO") != 1 || strings.Count(got, "connection refused") != 2 {
			t.Errorf("the log says %s", got)
		}
	})
}

// A Redis that hangs delays the end of an instance by half a second at most.
func TestRedisHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, m, _, stop := keep(t)
		synctest.Wait()
		m.set(true, nil)
		time.Sleep(5 * time.Second)
		began := time.Now()
		stop()
		if took := time.Since(began); took != forgetTimeout {
			t.Errorf("the end took %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, m, log, stop := keep(t)
		synctest.Wait()
		m.set(true, nil)
		time.Sleep(10 * time.Second) // in the middle of a write that has just begun
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took != forgetTimeout || strings.Contains(log.String(), "cannot be written") {
			t.Errorf("the end took %v, the log says %s", took, log)
		}
	})
}
