package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

const (
	// defaultService is the name of an instance as a NATS service in the default namespace: `nats micro info freshet-instance`.
	defaultService = "freshet-instance"
	// serviceVersion is the version of the protocol, not of the program.
	serviceVersion = "1.0.0"
)

// ErrClosed is returned when the connection has been closed.
var ErrClosed = errors.New("the connection to NATS is closed")

const (
	// pendingRequests and pendingBytes bound the requests that are queued while one is answered. Further requests are dropped;
	// their senders have to retry.
	pendingRequests = 256
	pendingBytes    = 1 << 20
	// maxNames bounds the names of datasets in the registration, in bytes: every answer to a ping contains it.
	maxNames = 1 << 10
	// usualPayload is the default limit of a NATS server for a message.
	usualPayload = 1 << 20
)

// Responder registers one instance as a NATS service and answers requests for it. Create it with NewResponder.
type Responder struct {
	nc        *nats.Conn
	namespace string
	status    func() Status
}

// NewResponder returns a Responder that answers in the namespace on nc with the result of status. It starts nothing.
//
// While the Responder runs, NATS's library for services wraps the handlers of nc for errors and for the end of the
// connection, and restores them afterwards. So other packages must set such handlers before Run, as events.NewListener does.
func NewResponder(nc *nats.Conn, namespace string, status func() Status) *Responder {
	return &Responder{nc: nc, namespace: namespace, status: status}
}

// Summary is the status of a dataset in the statistics of the NATS service, which `nats micro info` shows.
type Summary struct {
	Dataset    string  `json:"dataset"`
	Version    uint64  `json:"version"`
	Newest     uint64  `json:"newest"`
	State      State   `json:"state"`
	AgeSeconds float64 `json:"age_seconds"`
}

// registration is the state of one Run. Goroutines of the NATS client handle the requests.
type registration struct {
	*Responder
	ended  chan struct{} // closed when the service has stopped, for any reason
	failed chan error    // of capacity 1, for a panic in a handler
	mu     sync.RWMutex  // read-locked while a request is handled
	over   bool          // guarded by mu
}

// Run registers the instance and answers requests until ctx ends, and then returns nil. It returns [ErrClosed] when the
// connection is closed. A connection that is down is not an error: the client registers the instance again after the
// reconnect. Any other error also ends the registration, and the caller may call Run again. After Run has returned, status
// is not called any more.
func (r *Responder) Run(ctx context.Context) error {
	closed := r.nc.StatusChanged(nats.CLOSED)
	defer r.nc.RemoveStatusListener(closed)
	g := &registration{Responder: r, ended: make(chan struct{}), failed: make(chan error, 1)}
	service, err := g.register()
	if service != nil {
		defer g.end(service)
	}
	if errors.Is(err, nats.ErrConnectionClosed) {
		return ErrClosed
	}
	if err != nil {
		return fmt.Errorf("register the instance with NATS: %w", err)
	}
	select {
	case err := <-g.failed:
		return fmt.Errorf("answer for the instance: %w", err)
	case <-g.ended:
		if r.nc.IsClosed() {
			return ErrClosed
		}
		return errors.New("the registration of the instance with NATS has ended")
	case <-closed:
		return ErrClosed
	case <-ctx.Done():
		return nil
	}
}

// register registers the instance. It returns the service, also together with an error, if the caller has to stop it.
func (g *registration) register() (micro.Service, error) {
	if err := dataset.CheckNamespace(g.namespace); err != nil {
		return nil, err
	}
	s := g.status()
	service, err := micro.AddService(g.nc, micro.Config{
		Name:        serviceName(g.namespace),
		Version:     serviceVersion,
		Description: "freshet: datasets kept in memory at their newest version",
		Metadata: map[string]string{
			"instance": s.Instance, "host": s.Host, "pid": strconv.Itoa(s.PID), "datasets": names(s),
		},
		QueueGroupDisabled: true, // every instance answers
		StatsHandler: func(*micro.Endpoint) (summaries any) {
			g.answer(func() { summaries = summarize(g.status()) })
			return summaries
		},
		DoneHandler: func(micro.Service) { close(g.ended) },
	})
	if err != nil {
		return nil, err
	}
	return service, service.AddEndpoint("status", micro.HandlerFunc(func(req micro.Request) {
		g.answer(func() { g.respond(req) })
	}), micro.WithEndpointSubject(statusSubject(g.namespace)), micro.WithEndpointPendingLimits(pendingRequests, pendingBytes))
}

// respond answers a request for the status. It ignores the error of a failed answer: the service's statistics count it, and
// the sender of the request considers the instance gone.
func (g *registration) respond(req micro.Request) {
	limit := int(g.nc.MaxPayload())
	if limit <= 0 {
		limit = usualPayload
	}
	status := g.status()
	if name := decodeQuery(req.Data()); name != "" {
		status = status.only(name)
	}
	data, err := status.Encode(limit)
	if err != nil {
		_ = req.Error("500", err.Error(), nil)
		return
	}
	_ = req.Respond(data)
}

// answer calls f, unless the registration is over. A panic in f ends the registration and not the process.
func (g *registration) answer(f func()) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.over {
		return
	}
	if err := guard.Try(func() error { f(); return nil }); err != nil {
		select {
		case g.failed <- err:
		default: // one error ends the registration
		}
	}
}

// end stops the service and waits for handlers in flight. Handlers of requests that are still queued do nothing.
func (g *registration) end(service micro.Service) {
	_ = service.Stop() // fails only when the connection is gone, and the service with it
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

// names returns the names of the datasets, separated by commas, and truncated after maxNames bytes.
func names(s Status) string {
	var b strings.Builder
	for i, d := range s.Datasets {
		if b.Len()+len(d.Dataset) > maxNames {
			fmt.Fprintf(&b, " and %d more", len(s.Datasets)-i)
			break
		}
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(d.Dataset)
	}
	return b.String()
}

func summarize(s Status) []Summary {
	all := make([]Summary, 0, len(s.Datasets))
	for _, d := range s.Datasets {
		all = append(all, Summary{Dataset: d.Dataset, Version: d.Version, Newest: d.Newest, State: d.State, AgeSeconds: d.AgeSeconds})
	}
	return all
}
