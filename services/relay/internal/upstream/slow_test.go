package upstream_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// inMemory answers like whole, after a time.
type inMemory struct{ after time.Duration }

func (m *inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(m.after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	whole(w, r)
	res := w.Result()
	res.Body = bound{r.Context(), res.Body}
	return res, nil
}

// bound is a body that is readable until its request ends.
type bound struct {
	ctx context.Context
	io.ReadCloser
}

func (b bound) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// Invariant: a slow reader, as when all memory is in use, is not a stall of the relay.
func TestASlowReaderIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, log := openThrough(t, &inMemory{after: 4 * time.Second}, 10*time.Second, "http://a", "http://b")
		body, err := o.OpenObject(t.Context(), digest, 0, int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		var got []byte
		for part := make([]byte, 300_000); len(got) < len(content); {
			time.Sleep(time.Hour)
			n, err := body.Read(part)
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			got = append(got, part[:n]...)
		}
		if h := o.Health(); !bytes.Equal(got, content) || h[0].Failures+h[1].Failures != 0 || len(log.lines()) != 0 {
			t.Errorf("%d bytes, %+v", len(got), h)
		}
	})
}

// Invariant: of three silent relays the first has half of the time, the second half of the rest, and the last all of the rest.
func TestSilentRelaysShareTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relays := &inMemory{after: time.Hour}
		o, log := openThrough(t, relays, 10*time.Second, "http://a", "http://b", "http://c")
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := o.StatObject(ctx, digest); err == nil || time.Since(start) != 8*time.Second || len(log.lines()) != 3 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		relays.after = 2500 * time.Millisecond // longer than the limit of the second relay, and shorter than that of the first
		ctx, cancel = context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		start = time.Now()
		if _, err := o.StatObject(ctx, digest); err != nil || time.Since(start) != 2500*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}
