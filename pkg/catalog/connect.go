package catalog

import (
	"errors"
	"fmt"
	neturl "net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Timeouts of the connection. The catalog is an index that everyone can do without, so nobody should wait long for
// it: with Redis gone a call fails within about ten seconds even if its context has no deadline.
const (
	dialTimeout  = 2 * time.Second
	callTimeout  = 2 * time.Second // for the reply, and again for a free connection
	maxRetries   = 1
	poolSize     = 16
	idleConnTime = 5 * time.Minute
)

// Connect returns a client for the Redis at url: redis://[user:password@]host:port/db, rediss:// for TLS, or
// unix:///path. It fails for a malformed url only; it does not wait for the server. A timeout or pool size in the
// query of url (such as ?read_timeout=5s) goes before the default. The caller closes the client.
func Connect(url string) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(url)
	if _, quoted := errors.AsType[*neturl.Error](err); quoted { // it quotes the text, which may hold a password
		err = errors.New("it is not a URL")
	}
	if err != nil {
		return nil, fmt.Errorf("parse the URL of Redis (want redis://[user:password@]host:port/db): %w", err)
	}
	setDefault(&o.DialTimeout, dialTimeout)
	setDefault(&o.ReadTimeout, callTimeout)
	setDefault(&o.WriteTimeout, callTimeout)
	setDefault(&o.PoolTimeout, callTimeout)
	setDefault(&o.ConnMaxIdleTime, idleConnTime)
	setDefault(&o.PoolSize, poolSize)
	setDefault(&o.MaxRetries, maxRetries)
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true // else a read ignores its context's deadline
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o), nil
}

func setDefault[T comparable](setting *T, value T) {
	var unset T
	if *setting == unset {
		*setting = value
	}
}
