package publish_test

import (
	"context"
	"log/slog"
	"os"
	"os/signal"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
)

// A pipeline that publishes without the publisher service runs its background work itself.
func ExamplePublisher_Run() {
	run := func(ctx context.Context) error {
		st, err := storeurl.Open(ctx, "dir:///var/lib/freshet")
		if err != nil {
			return err
		}
		defer st.Close()
		nc, err := events.Connect("nats://127.0.0.1:4222", "pipeline", slog.Default())
		if err != nil {
			return err
		}
		defer nc.Close()
		log, err := events.NewLog(nc, events.Config{})
		if err != nil {
			return err
		}
		rdb, err := catalog.Connect("redis://127.0.0.1:6379")
		if err != nil {
			return err
		}
		defer rdb.Close()

		p, err := publish.Open(publish.Config{BeaconName: "pipeline", Log: slog.Default()}, publish.Deps{
			Store: st, Events: log, Catalog: catalog.New(rdb, ""),
			SendBeacon: func(b events.Beacon) error { return events.SendBeacon(nc, "", b) },
		})
		if err != nil {
			return err
		}
		// p.Publish and p.Patch may be called from other goroutines.
		return p.Run(ctx)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("the publisher has ended", "error", err)
	}
}
