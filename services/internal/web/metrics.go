package web

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"freshet.dev/services/internal/build"
)

// NewRegistry returns a metrics registry with the metrics of the build, the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newBuildInfo())
	return reg
}

// newBuildInfo returns the metric whose labels are the program's build.
func newBuildInfo() prometheus.Collector {
	b := build.Read()
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_build_info", Help: "Build of the program, as labels; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.GoVersion},
	}, func() float64 { return 1 })
}

// metrics counts requests by route.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	active   prometheus.Gauge
}

// buckets resolve lookups to a factor of two, from 10 microseconds to 10 milliseconds, and other requests to a factor of four, up to 168 seconds
// for a large publish.
var buckets = append(prometheus.ExponentialBuckets(10e-6, 2, 11), prometheus.ExponentialBuckets(10240e-6*4, 4, 7)...)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_http_request_seconds", Help: "Time from a request's header to the end of its response.",
			Buckets: buckets,
		}, []string{"route"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_http_response_bytes_total", Help: "Bytes of response bodies sent, by route.",
		}, []string{"route"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_http_requests_active", Help: "Requests in flight.",
		}),
	}
	reg.MustRegister(m.requests, m.seconds, m.bytes, m.active)
	return m
}

// routeMetrics are the metrics of a route. Each is found by its labels once: three such searches cost a lookup more than the table does.
type routeMetrics struct {
	all     *metrics
	route   string
	ok      func() prometheus.Counter // of status 200
	seconds func() prometheus.Observer
	bytes   func() prometheus.Counter
}

func (m *metrics) of(route string) routeMetrics {
	return routeMetrics{
		all: m, route: route,
		ok:      sync.OnceValue(func() prometheus.Counter { return m.requests.WithLabelValues(route, statusText(http.StatusOK)) }),
		seconds: sync.OnceValue(func() prometheus.Observer { return m.seconds.WithLabelValues(route) }),
		bytes:   sync.OnceValue(func() prometheus.Counter { return m.bytes.WithLabelValues(route) }),
	}
}

func (m *routeMetrics) observe(status int, bytes int64, took time.Duration) {
	if status == http.StatusOK {
		m.ok().Inc()
	} else {
		m.all.requests.WithLabelValues(m.route, statusText(status)).Inc()
	}
	m.seconds().Observe(took.Seconds())
	m.bytes().Add(float64(bytes))
}

// statusTexts holds "100" to "599", so that counting a request allocates no string.
var statusTexts = func() (t [500]string) {
	for i := range t {
		t[i] = strconv.Itoa(100 + i)
	}
	return t
}()

func statusText(status int) string {
	if status < 100 || status >= 100+len(statusTexts) {
		return "other"
	}
	return statusTexts[status-100]
}

// metricsHandler sends the metrics with one Write, so that it waits for a slow client once, and holds no gathered metrics while it waits.
func metricsHandler(reg *prometheus.Registry) Handler {
	h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	return func(w http.ResponseWriter, r *http.Request) error {
		page := &page{header: w.Header(), status: http.StatusOK}
		h.ServeHTTP(page, r)
		w.Header().Set("Content-Length", strconv.Itoa(page.body.Len()))
		w.WriteHeader(page.status)
		_, _ = w.Write(page.body.Bytes()) // fails if the client has disconnected
		return nil
	}
}

// page is a response in memory.
type page struct {
	header http.Header // of the response to send
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (p *page) Header() http.Header { return p.header }

// WriteHeader implements [http.ResponseWriter].
func (p *page) WriteHeader(status int) { p.status = status }

// Write implements [http.ResponseWriter].
func (p *page) Write(b []byte) (int, error) { return p.body.Write(b) }
