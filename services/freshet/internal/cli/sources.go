package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/overview"
	"freshet.dev/services/internal/settings"
)

// askTimeout is how long the publisher, NATS or Redis may take to answer. A check must not hang.
const askTimeout = 10 * time.Second

// sources returns the sources of a status. Each look opens new connections, so that --watch shows the same as a new command.
func (f *statusFlags) sources(c *client.Client) overview.Sources {
	s := overview.Sources{
		Namespace: f.namespace, Select: f.selected,
		Latest: func(ctx context.Context) (map[string]dataset.VersionRecord, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("the publisher did not answer within %s", askTimeout))
			defer cancel()
			latest, unset, err := c.Latest(ctx)
			f.unset = unset
			return latest, err
		},
		Survey: func(ctx context.Context, stall time.Duration) ([]fleet.Status, error) {
			conn, err := dialFleet(ctx, f.nats)
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			return fleet.Survey(ctx, conn, fleet.SurveyOptions{Namespace: f.namespace, Stall: stall})
		},
	}
	if f.redis != "" {
		s.Records = func(ctx context.Context) ([]overview.Record, error) { return records(ctx, f.redis, f.namespace) }
	}
	return s
}

// records returns the records of the namespace's instances in the Redis at address.
func records(ctx context.Context, address, namespace string) ([]overview.Record, error) {
	shown := settings.URL(address) // prints without credentials
	rdb, err := catalog.Connect(address)
	if err != nil {
		return nil, fmt.Errorf("%s is not a URL of Redis: want redis://[user:password@]host:port/db", shown)
	}
	defer rdb.Close() //nolint:errcheck // only read
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	all, err := catalog.New(rdb, namespace).Instances(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the instances' records in Redis at %s: %w", shown, err)
	}
	var readable []overview.Record
	for _, i := range all {
		r := overview.Record{Age: i.Age}
		if err := json.Unmarshal(i.Status, &r.Status); err != nil {
			return nil, fmt.Errorf("the record of instance %s in Redis at %s is not readable: %w", i.ID, shown, err)
		}
		readable = append(readable, r)
	}
	return readable, nil
}
