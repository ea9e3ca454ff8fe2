package catalog

import (
	"errors"
	"fmt"
	neturl "net/url"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/redact"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Timeouts of the connection. They are short because every caller works without the catalog: without Redis a call fails within about ten
// seconds even if its context has no deadline.
const (
	dialTimeout  = 2 * time.Second
	callTimeout  = 2 * time.Second // for the reply, and again for a free connection
	maxRetries   = 1
	poolSize     = 16
	idleConnTime = 5 * time.Minute
)

// ErrPool is returned by [Connect] when the sizes of the pool in the query of the URL contradict each other. Its text has no part of the
// URL.
var ErrPool = errors.New("the sizes of the pool contradict each other")

// Connect returns a client for the Redis at url: redis://[user:password@]host:port/db, rediss:// for TLS, or
// unix:///path. It fails only for a malformed url, and does not connect. A timeout or pool size in the query of url
// (such as ?read_timeout=5s) overrides the default. The caller closes the client.
func Connect(url string) (redis.UniversalClient, error) {
	if err := redact.CheckOne(url); err != nil {
		return nil, fmt.Errorf("parse the URL of Redis (want redis://[user:password@]host:port/db): it %w", err)
	}
	o, err := redis.ParseURL(url)
	if err != nil { // err quotes the URL, which may contain a password
		return nil, fmt.Errorf("parse the URL of Redis (want redis://[user:password@]host:port/db): %w", urlError(url))
	}
	setDefault(&o.DialTimeout, dialTimeout)
	setDefault(&o.ReadTimeout, callTimeout)
	setDefault(&o.WriteTimeout, callTimeout)
	setDefault(&o.PoolTimeout, callTimeout)
	setDefault(&o.ConnMaxIdleTime, idleConnTime)
	setDefault(&o.PoolSize, poolSize)
	setDefault(&o.MaxRetries, maxRetries)
	if most := max(o.MinIdleConns, o.MaxIdleConns); most > o.PoolSize {
		return nil, fmt.Errorf("%w: min_idle_conns or max_idle_conns is %d, above pool_size, which is %d", ErrPool, most, o.PoolSize)
	}
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true // without it, a read ignores the deadline of its context
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o), nil
}

// urlError returns the reason why go-redis refuses the URL. The text contains no part of the URL.
func urlError(url string) error {
	u, err := neturl.Parse(url)
	switch {
	case err != nil || u.Opaque != "":
		return errors.New("it is not a URL")
	case u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix":
		return errors.New("its scheme is none of redis, rediss and unix")
	case u.Scheme == "unix" && strings.TrimSpace(u.Path) == "":
		return errors.New("it names no socket; want unix:///path")
	}
	if db := strings.Trim(u.Path, "/"); u.Scheme != "unix" && db != "" {
		if _, err := strconv.Atoi(db); err != nil {
			return errors.New("its path is not the number of a database; write / in a password as %2F")
		}
	}
	return errors.New("an option in its query is unknown or has a value that is not allowed; an example of an option is ?read_timeout=5s")
}

func setDefault[T comparable](setting *T, value T) {
	var unset T
	if *setting == unset {
		*setting = value
	}
}
