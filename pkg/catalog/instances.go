package catalog

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// InstanceTTL is how long the record of an instance lives after it was written.
	InstanceTTL = 30 * time.Second
	// MaxInstanceBytes bounds the record of an instance.
	MaxInstanceBytes = 64 << 10
	// readBatch is the number of records that are read in one round trip.
	readBatch = 64
)

// ErrTooLarge is returned for an instance's record above [MaxInstanceBytes].
var ErrTooLarge = errors.New("too large for the catalog")

//go:embed record.lua
var recordSource string

var recordScript = redis.NewScript(recordSource)

// Instance is the record of an instance.
type Instance struct {
	// ID is the id of the instance, from [InstanceID].
	ID string
	// Status is the last status that the instance wrote. Age is how long ago that was, by the clock of Redis.
	Status []byte
	Age    time.Duration
}

// InstanceID returns an id that no other running process has. The name may be any text.
func InstanceID(name, host string, pid int) string {
	return url.QueryEscape(name) + "/" + url.QueryEscape(host) + "/" + strconv.Itoa(pid)
}

// RecordInstance stores the status of an instance for [InstanceTTL]. The catalog does not interpret the status.
func (c *Catalog) RecordInstance(ctx context.Context, id string, status []byte) error {
	if len(status) > MaxInstanceBytes {
		return fmt.Errorf("record instance %s: %d bytes: %w", id, len(status), ErrTooLarge)
	}
	keys := []string{c.keys.instances, c.keys.instance + id}
	if err := recordScript.Run(ctx, c.rdb, keys, id, status, InstanceTTL.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("record instance %s: %w", id, explain(c.keys.instances, err))
	}
	return nil
}

// ForgetInstance removes the record of an instance that stops. A missing record is no error.
func (c *Catalog) ForgetInstance(ctx context.Context, id string) error {
	_, err := c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRem(ctx, c.keys.instances, id)
		p.Del(ctx, c.keys.instance+id)
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget instance %s: %w", id, explain(c.keys.instances, err))
	}
	return nil
}

// Instances returns the records of all instances that wrote one within the last [InstanceTTL], sorted by id.
func (c *Catalog) Instances(ctx context.Context) ([]Instance, error) {
	fail := func(err error) ([]Instance, error) {
		return nil, fmt.Errorf("list the instances: %w", explain(c.keys.instances, err))
	}
	now, err := c.rdb.Time(ctx).Result()
	if err != nil {
		return fail(err)
	}
	// The index outlives the records, which expire automatically. The query returns only instances whose record has not expired.
	listed, err := c.rdb.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
		Key: c.keys.instances, ByScore: true, Start: "(" + strconv.FormatInt(now.UnixMilli(), 10), Stop: "+inf",
	}).Result()
	if err != nil {
		return fail(err)
	}
	var all []Instance
	for len(listed) > 0 {
		batch := listed[:min(readBatch, len(listed))]
		listed = listed[len(batch):]
		keys := make([]string, len(batch))
		for i, z := range batch {
			keys[i] = c.keys.instance + z.Member.(string)
		}
		values, err := c.rdb.MGet(ctx, keys...).Result()
		if err != nil {
			return fail(err)
		}
		for i, z := range batch {
			status, ok := values[i].(string)
			if !ok {
				continue // the record expired or was removed after the query
			}
			written := time.UnixMilli(int64(z.Score)).Add(-InstanceTTL)
			all = append(all, Instance{ID: z.Member.(string), Status: []byte(status), Age: max(0, now.Sub(written))})
		}
	}
	slices.SortFunc(all, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
