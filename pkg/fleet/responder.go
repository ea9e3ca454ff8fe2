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
	// ServiceName is what an instance is registered as with NATS, in a namespace with a hyphen and the namespace behind it:
	// `nats micro info freshet-instance`.
	ServiceName = "freshet-instance"
	// serviceVersion is that of what instances say, not of the program.
	serviceVersion = "1.0.0"
)

// ErrClosed is returned when the connection was closed for good.
var ErrClosed = errors.New("the connection to NATS is closed")

const (
	// pendingRequests and pendingBytes are how many requests may wait while one is answered. One that finds no place is
	// lost; who asks again gets an answer.
	pendingRequests = 256
	pendingBytes    = 1 << 20
	// maxNames is how many bytes of the names of datasets are told with the registration, which every ping is answered with.
	maxNames = 1 << 10
	// usualPayload is the most that a NATS server takes in a message unless it is told otherwise.
	usualPayload = 1 << 20
)

// Responder registers one instance as a service with NATS and answers for it. Create it with NewResponder.
type Responder struct {
	nc        *nats.Conn
	namespace string
	status    func() Status
}

// NewResponder returns a responder that answers in the namespace on nc with what status returns. It starts nothing.
//
// While it runs, NATS's library for services has put itself before the handlers of nc for errors and for the end, and puts
// back afterwards those that it found. So whoever sets such a handler does so before Run, as events.NewListener does.
func NewResponder(nc *nats.Conn, namespace string, status func() Status) *Responder {
	return &Responder{nc: nc, namespace: namespace, status: status}
}

// Summary is what an instance says of a dataset in its statistics as a service, which `nats micro info` shows.
type Summary struct {
	Dataset    string  `json:"dataset"`
	Version    uint64  `json:"version"`
	Newest     uint64  `json:"newest"`
	State      State   `json:"state"`
	AgeSeconds float64 `json:"age_seconds"`
}

// registration is the state of one Run. Requests come on goroutines of the NATS client.
type registration struct {
	*Responder
	ended  chan struct{} // closed when the service has stopped, for whatever reason
	failed chan error    // has room for one: a panic while a request was answered
	mu     sync.RWMutex  // held to answer
	over   bool          // guarded by mu
}

// Run registers the instance and answers until ctx ends, and then returns nil; or [ErrClosed]. A connection that is down
// is no error: the registration is there again when the connection is. Any other error ends the registration, too, and
// Run may be called again. When it returns, status is not called any more.
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

// register makes the instance known. A service is returned if there is one to be stopped.
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
		QueueGroupDisabled: true, // every instance is to answer
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
		g.answer(func() { g.tell(req) })
	}), micro.WithEndpointSubject(statusSubject(g.namespace)), micro.WithEndpointPendingLimits(pendingRequests, pendingBytes))
}

// tell answers a request for the status. Who gets no answer takes the instance for gone; the statistics count those.
func (g *registration) tell(req micro.Request) {
	most := int(g.nc.MaxPayload())
	if most <= 0 {
		most = usualPayload
	}
	status := g.status()
	if name := asked(req.Data()); name != "" {
		status = status.only(name)
	}
	data, err := status.Encode(most)
	if err != nil {
		// That this fails too is counted as well.
		_ = req.Error("500", err.Error(), nil)
		return
	}
	_ = req.Respond(data)
}

// answer calls f, unless the registration is over. A panic there would end the process: it ends the registration.
func (g *registration) answer(f func()) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.over {
		return
	}
	if err := guard.Try(func() error { f(); return nil }); err != nil {
		select {
		case g.failed <- err:
		default: // one is enough to end it
		}
	}
}

// end stops the service and waits for answers that are being given. Requests that have come already find it over.
func (g *registration) end(service micro.Service) {
	_ = service.Stop() // fails only when the connection is gone, and the service with it
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

// names returns the names of the datasets with commas between them, as many as there is room for.
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
