package pull

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/relays"
)

// ErrConfig is wrapped by every error of [Config.Check]. The message names the field.
var ErrConfig = errors.New("unusable pull configuration")

// Defaults of the fields of a [Config] that are zero.
const (
	DefaultHeaderTimeout  = 15 * time.Second
	DefaultStallTimeout   = 20 * time.Second
	DefaultMaxConnections = 16
	DefaultPatience       = 30 * time.Second
	DefaultDistrust       = 5 * time.Minute
)

const (
	// dialTimeout is short because relays are near, and because a black-holed relay delays the failover by it.
	dialTimeout = 3 * time.Second
	tlsTimeout  = 5 * time.Second
	// idleTimeout outlasts the pause between the versions of a busy dataset, so that a small refresh need not dial.
	idleTimeout = 90 * time.Second
	// maxIdle bounds the idle connections to each relay, so that a burst does not leave hundreds open.
	maxIdle = 64
)

// Config configures a [Client].
type Config struct {
	// Relays are the base URLs of the relays (http or https), in any order. At least one is required. A URL must be
	// written the same way in all clients, so that all of them query the same relay first for an object.
	Relays []string
	// HeaderTimeout limits the time from the start of a request to the end of the response's header, including the wait
	// for a free connection. Zero means DefaultHeaderTimeout.
	HeaderTimeout time.Duration
	// StallTimeout limits each wait for more bytes of a response's body. Zero means DefaultStallTimeout.
	StallTimeout time.Duration
	// TotalTimeout, if not zero, replaces HeaderTimeout and StallTimeout. It is for relays that read from other relays. All
	// relays together have the time until the context's deadline, or TotalTimeout without a deadline:
	//
	//   - Each relay has half of the remaining time to answer, and the last relay all of it. The relay that ranks first gets
	//     more time than its substitutes because it may have to read from a distant store.
	//   - With several relays, each wait for more bytes of an object is limited to half of TotalTimeout.
	TotalTimeout time.Duration
	// MaxConnections limits the connections to each relay; a request beyond the limit waits for a free connection. Zero
	// means DefaultMaxConnections.
	MaxConnections int
	// Lane admits requests; each has a place until the end of its body. A lane with as many places as MaxConnections makes sure that no
	// admitted request waits for a connection. Nil admits all.
	Lane *lane.Lane
	// Patience limits how long Object and its Body go without a new byte: while relays answer that they are busy, and,
	// after a connection broke, while relays are down or silent. Each relay is queried at least once. Zero means
	// DefaultPatience.
	Patience time.Duration
	// Distrust is how long a relay that sent wrong bytes is only queried when no other relay is left. Zero means
	// DefaultDistrust.
	Distrust time.Duration
	// RetryAfter is how long a relay is busy that answers 503 or 429 without a Retry-After header. Zero means that such an
	// answer is a failure.
	RetryAfter time.Duration
	// UserAgent is the User-Agent of the requests. Empty means freshet-instance.
	UserAgent string
	// Transport sends all requests. Nil means a transport that only this client uses. A given transport decides on proxies, TLS,
	// credentials and connections: MaxConnections does not apply to it, and Close closes none of its connections. There is no
	// field for an http.Client, because the rest of one has no use here: relays set no cookies, and its Timeout would end the
	// pull of a large object.
	Transport http.RoundTripper
	// Refused, if not nil, is called for each relay that sent wrong bytes. It runs on the goroutine that reads the body,
	// possibly concurrently, and must return at once.
	Refused func(Refusal)
	// Changed, if not nil, is called with the error when a relay fails for the first time since it last served, and with
	// nil when it serves again. It may be called concurrently, and must return at once.
	Changed func(relay string, err error)
}

// Refusal describes a relay's answer with bytes that are not those of the object.
type Refusal struct {
	Relay  string // base URL without its password
	Object dataset.Object
	// Err describes how the bytes are wrong.
	Err error
}

func (c Config) withDefaults() Config {
	if c.TotalTimeout > 0 {
		c.HeaderTimeout, c.StallTimeout = 0, 0
		if len(c.Relays) > 1 {
			c.StallTimeout = c.TotalTimeout / 2
		}
	} else {
		c.HeaderTimeout = cmp.Or(c.HeaderTimeout, DefaultHeaderTimeout)
		c.StallTimeout = cmp.Or(c.StallTimeout, DefaultStallTimeout)
	}
	c.MaxConnections = cmp.Or(c.MaxConnections, DefaultMaxConnections)
	c.Patience = cmp.Or(c.Patience, DefaultPatience)
	c.Distrust = cmp.Or(c.Distrust, DefaultDistrust)
	c.UserAgent = cmp.Or(c.UserAgent, "freshet-instance")
	if c.Refused == nil {
		c.Refused = func(Refusal) {}
	}
	if c.Changed == nil {
		c.Changed = func(string, error) {}
	}
	return c
}

// Check returns an error that wraps [ErrConfig] if c cannot be used.
func (c Config) Check() error {
	if len(c.Relays) == 0 {
		return fmt.Errorf("%w: Relays is empty; set the base URL of at least one relay", ErrConfig)
	}
	for _, field := range []struct {
		name  string
		value time.Duration
	}{
		{"HeaderTimeout", c.HeaderTimeout},
		{"StallTimeout", c.StallTimeout},
		{"TotalTimeout", c.TotalTimeout},
		{"Patience", c.Patience},
		{"Distrust", c.Distrust},
		{"RetryAfter", c.RetryAfter},
	} {
		if field.value < 0 {
			return fmt.Errorf("%w: %s is %s; it must not be negative", ErrConfig, field.name, field.value)
		}
	}
	if c.MaxConnections < 0 {
		return fmt.Errorf("%w: MaxConnections is %d; it must not be negative", ErrConfig, c.MaxConnections)
	}
	for i, r := range c.Relays {
		if _, err := relays.Parse(r); err != nil {
			return fmt.Errorf("%w: Relays[%d] %w", ErrConfig, i, err)
		}
	}
	return nil
}
