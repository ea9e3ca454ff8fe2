package server_test

import (
	"log/slog"
	"testing"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
)

// newPipeline starts a NATS server, and returns it with an empty store and a publisher that uses both.
func newPipeline(t *testing.T) (*servertest.NATSServer, store.Store, *publish.Publisher) {
	t.Helper()
	nats := servertest.NATS(t)
	s, err := storeurl.Open(t.Context(), "dir://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	nc, err := events.Connect(nats.URL, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	log, err := events.NewLog(nc, events.Config{})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: s, Events: log})
	if err != nil {
		t.Fatal(err)
	}
	return nats, s, publisher
}
