package web

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// sender is a client that sends rate bytes a second, in a part every so often, and size bytes in all.
type sender struct {
	rate  int64
	every time.Duration
	size  int64

	sent     int64
	next     time.Time
	deadline time.Time
}

func (s *sender) SetReadDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

func (s *sender) Read(p []byte) (int, error) {
	if s.sent >= s.size {
		return 0, io.EOF
	}
	if s.next.IsZero() {
		s.next = time.Now()
	}
	s.next = s.next.Add(s.every)
	if s.next.After(s.deadline) {
		<-time.After(time.Until(s.deadline))
		return 0, io.ErrNoProgress
	}
	<-time.After(time.Until(s.next))
	n := min(int64(len(p)), s.rate*int64(s.every)/int64(time.Second), s.size-s.sent)
	s.sent += n
	return int(n), nil
}

func TestDrainBounds(t *testing.T) {
	for name, c := range map[string]struct {
		sender sender
		ended  bool
		within time.Duration
	}{
		"26 MB at 400 KB/s":          {sender{rate: 400_000, every: 10 * time.Millisecond, size: 26_000_000}, true, 66 * time.Second},
		"26 MB at 20 KB/s":           {sender{rate: 20_000, every: 200 * time.Millisecond, size: 26_000_000}, true, 22 * time.Minute},
		"200 KB at 1 KB/s":           {sender{rate: 1000, every: time.Second, size: 200_000}, true, 201 * time.Second},
		"a pause of 9 s":             {sender{rate: 400, every: 9 * time.Second, size: 3600}, true, 10 * time.Second},
		"parts of 4 KB every 3 s":    {sender{rate: 1365, every: 3 * time.Second, size: 1 << 20}, true, time.Hour},
		"a byte every second":        {sender{rate: 1, every: time.Second, size: 1 << 20}, false, 11 * time.Second},
		"silence":                    {sender{rate: 1, every: time.Hour, size: 1 << 20}, false, 11 * time.Second},
		"1 GB at 100 MB/s":           {sender{rate: 100_000_000, every: 40 * time.Microsecond, size: 1 << 30}, false, time.Minute},
		"64 MB at 30 KB/s, too long": {sender{rate: 30_000, every: 100 * time.Millisecond, size: 64 << 20}, false, 31 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				d := newDrainer()
				if ended := d.drain(t.Context(), &c.sender, d.full); ended != c.ended {
					t.Errorf("the body ended: %v, after %d bytes", ended, c.sender.sent)
				}
				if took := time.Since(start); took > c.within {
					t.Errorf("the drain took %v", took)
				}
				if c.sender.sent > d.full.bytes+(4<<10) { // and the last part
					t.Errorf("%d bytes were read", c.sender.sent)
				}
			})
		})
	}
}
