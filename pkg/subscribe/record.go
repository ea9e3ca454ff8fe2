package subscribe

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/redact"
	"freshet.dev/pkg/subscribe/internal/record"
)

// redisSchemes are the schemes of a Redis URL.
var redisSchemes = []string{"redis", "rediss", "unix"}

// checkRedis returns an error for a text that is no Redis URL. The error does not repeat the text, which may hold a password.
func checkRedis(text string) error {
	const want = "want redis://[user:password@]host:port/db, rediss:// or unix:///path"
	if err := redact.CheckOne(text); err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(redisSchemes, u.Scheme) || u.Scheme != "unix" && u.Host == "" {
		return fmt.Errorf("is no URL of a Redis; %s", want)
	}
	rdb, err := catalog.Connect(text)
	if errors.Is(err, catalog.ErrPool) {
		return fmt.Errorf("is wrong: %w", err)
	}
	if err != nil {
		return fmt.Errorf("has a part that is wrong; %s", want)
	}
	return rdb.Close()
}

// openRecord makes the keeper of this instance's record if Redis is configured, without waiting for a server.
func (s *Subscriber) openRecord() error {
	if s.cfg.Redis == "" {
		return nil
	}
	rdb, err := catalog.Connect(s.cfg.Redis)
	if err != nil {
		return fmt.Errorf("%w: Redis cannot be used", ErrConfig) // the cause may repeat the password
	}
	s.redis = rdb
	id := catalog.InstanceID(s.cfg.Instance, s.host, os.Getpid())
	s.record = record.New(inLane{s.lanes.IO, catalog.New(rdb, s.cfg.Namespace)}, id, func() ([]byte, error) { return s.Status().Encode(catalog.MaxInstanceBytes) }, s.cfg.Log)
	return nil
}

// inLane is a catalog whose calls are in the lane.
type inLane struct {
	lane    *lane.Lane
	catalog record.Catalog
}

func (c inLane) RecordInstance(ctx context.Context, id string, status []byte) error {
	_, leave, err := c.lane.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return c.catalog.RecordInstance(ctx, id, status)
}

func (c inLane) ForgetInstance(ctx context.Context, id string) error {
	_, leave, err := c.lane.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return c.catalog.ForgetInstance(ctx, id)
}

// recordChanged makes the keeper write the record soon.
func (s *Subscriber) recordChanged() {
	if s.record != nil {
		s.record.Changed()
	}
}

// closeRecord closes the connection to Redis, after the keeper has ended.
func (s *Subscriber) closeRecord() {
	if s.redis != nil {
		_ = s.redis.Close() // nothing is left to write
	}
}
