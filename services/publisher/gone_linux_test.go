package publisher_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/publisher"
)

// hung is a store whose Latest of prices, and whose PutVersion of cities, return when their context ends.
type hung struct {
	store.Store
	calls, ended chan struct{}
}

func (h hung) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	if name != "prices" {
		return h.Store.Latest(ctx, name)
	}
	h.calls <- struct{}{}
	<-ctx.Done()
	h.ended <- struct{}{}
	return dataset.VersionRecord{}, context.Cause(ctx)
}

func (h hung) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	if rec.Dataset != "cities" {
		return h.Store.PutVersion(ctx, rec)
	}
	h.calls <- struct{}{}
	<-ctx.Done()
	h.ended <- struct{}{}
	return context.Cause(ctx)
}

// logged receives the lines of a log.
type logged chan string

func (l logged) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
	default:
	}
	return len(line), nil
}

// await waits for a line that has all texts.
func (l logged) await(t *testing.T, texts ...string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line := <-l:
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				return
			}
		case <-timeout:
			t.Fatalf("no line of the log has %q", texts)
		}
	}
}

// A client that leaves while the publisher does not read the body frees its slot, although net/http does not notice.
func TestClientsThatLeaveUnread(t *testing.T) {
	s := hung{openStore(t), make(chan struct{}, 4), make(chan struct{}, 4)}
	log := make(logged, 1000)
	p := newPublisher(t, s, func(c *publisher.Config, d *publisher.Deps) {
		c.Publishes, c.Patches = 1, 1
		d.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	<-p.Ready()
	for _, c := range []struct {
		request, rest string
		log           []string
	}{
		{"POST " + versions, "", []string{"the client has left; nothing was published", "dataset=prices", "context canceled"}},
		{"PATCH /v1/datasets/prices", "", []string{"the client has left; nothing was published", "dataset=prices", "context canceled"}},
		// A byte behind the body ends the watch of net/http. The version may be committed.
		{"POST /v1/datasets/cities/versions", "0\r\n\r\n", []string{"commit-unknown", "context canceled"}},
	} {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s?key=id HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", c.request)
		chunk(conn, ndjson)
		io.WriteString(conn, c.rest)
		<-s.calls
		if c.rest != "" {
			io.WriteString(conn, "\n")
		}
		conn.Close()
		select {
		case <-s.ended:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the context of a client that has left does not end", c.request)
		}
		log.await(t, c.log...)
	}
	awaitMetrics(t, p, `freshet_publisher_publish_failures_total{problem="client-gone"} 2`, `freshet_publisher_publish_failures_total{problem="commit-unknown"} 1`)
	healthy(t, p.Handler())
}
