package publisher_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/publisher"
)

// hung is a store whose Latest returns when its context ends.
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

// A client that leaves while the publisher does not read the body frees its slot, although net/http does not notice.
func TestClientsThatLeaveUnread(t *testing.T) {
	s := hung{openStore(t), make(chan struct{}, 4), make(chan struct{}, 4)}
	p := newPublisher(t, s, func(c *publisher.Config, _ *publisher.Deps) { c.Publishes, c.Patches = 1, 1 })
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
	for _, request := range []string{"POST " + versions, "PATCH /v1/datasets/prices"} {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s?key=id HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", request)
		chunk(conn, ndjson)
		<-s.calls
		conn.Close()
		select {
		case <-s.ended:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the context of a client that has left does not end", request)
		}
	}
	healthy(t, p.Handler())
}
