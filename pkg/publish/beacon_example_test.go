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
	"github.com/sourcegraph/conc/pool"
)

// What the publisher service runs beside publishes, and who publishes without it should run too.
func ExampleNewBeacon() {
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

		p, err := publish.New(publish.Config{Log: slog.Default()}, publish.Deps{Store: st, Events: log, Catalog: catalog.New(rdb, "")})
		if err != nil {
			return err
		}
		repairer := publish.NewRepairer(p, nil)
		beacon, err := publish.NewBeacon(publish.BeaconConfig{Name: "pipeline"}, publish.BeaconDeps{
			Publisher: p, Repairer: repairer,
			Send: func(b events.Beacon) error { return events.SendBeacon(nc, "", b) },
		})
		if err != nil {
			return err
		}
		running := pool.New().WithContext(ctx).WithCancelOnError()
		running.Go(repairer.Run)
		running.Go(beacon.Run)
		// and p.Publish, as often as there is something new
		return running.Wait()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("the beacon has ended", "error", err)
	}
}
