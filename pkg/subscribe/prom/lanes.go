package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe"
)

// RegisterLanes registers metrics of the lanes: of a subscriber's, [subscribe.Subscriber.Lanes]. It panics if reg already has them.
func RegisterLanes(reg prometheus.Registerer, lanes lane.Lanes) {
	reg.MustRegister(laneCollector{lanes})
}

// laneCollector makes metrics of lanes during each scrape.
type laneCollector struct{ lanes lane.Lanes }

// The kinds of work in a lane.
const (
	workOwn  = "refresh"
	workUser = "request"
)

var (
	descWidth   = describe("lane_width", "Functions that may run in the lane at a time.", "lane")
	descQueue   = describe("lane_queue", "Requests that may wait for the lane.", "lane")
	descRunning = describe("lane_running", "Functions that run in the lane: of refreshes, and of requests and user code.", "lane", "work")
	descWaiting = describe("lane_queued", "Functions that wait for the lane.", "lane", "work")
	descAstray  = describe("lane_astray", "Functions of requests that run without a place, because they do not yield or their request has ended.", "lane")
	descWait    = describe("lane_wait_seconds", "Time that functions waited for a place in the lane.", "lane", "work")
	descRun     = describe("lane_run_seconds", "Time that functions had a place in the lane.", "lane", "work")
	descShed    = describe("lane_shed_total", "Requests that the lane did not run: too many waited (queue), they waited too long (wait), or they ended while they waited (canceled).", "lane", "reason")
	descHeld    = describe("lane_held_total", "Functions that lost their place because they did not yield.", "lane")
)

// Describe implements [prometheus.Collector].
func (c laneCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descWidth, descQueue, descRunning, descWaiting, descAstray, descWait, descRun, descShed, descHeld} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c laneCollector) Collect(ch chan<- prometheus.Metric) {
	for _, l := range []*lane.Lane{c.lanes.CPU, c.lanes.IO} {
		s := l.Stats()
		gauge(ch, descWidth, float64(s.Width), s.Name)
		gauge(ch, descQueue, float64(s.Queue), s.Name)
		gauge(ch, descAstray, float64(s.Astray), s.Name)
		counter(ch, descHeld, float64(s.Held), s.Name)
		counter(ch, descShed, float64(s.ShedQueue), s.Name, "queue")
		counter(ch, descShed, float64(s.ShedWait), s.Name, "wait")
		counter(ch, descShed, float64(s.Canceled), s.Name, "canceled")
		for work, w := range map[string]lane.WorkStats{workOwn: s.Own, workUser: s.User} {
			gauge(ch, descRunning, float64(w.Running), s.Name, work)
			gauge(ch, descWaiting, float64(w.Waiting), s.Name, work)
			histogram(ch, descWait, w.Wait, s.Name, work)
			histogram(ch, descRun, w.Run, s.Name, work)
		}
	}
}

// Pools reports the state of pools of connections. [subscribe.Subscriber] does.
type Pools interface{ Pools() []subscribe.Pool }

// RegisterPools registers metrics of the pools of source. It panics if reg already has them.
func RegisterPools(reg prometheus.Registerer, source Pools) { reg.MustRegister(poolCollector{source}) }

type poolCollector struct{ source Pools }

var (
	descPoolMax      = describe("pool_max_connections", "Connections that the pool may have: to each relay, or to Redis.", "pool")
	descPoolOpen     = describe("pool_open_connections", "Connections of the pool: to all relays, or to Redis.", "pool")
	descPoolWaits    = describe("pool_waits_total", "Requests that waited for a connection of the pool.", "pool")
	descPoolTimeouts = describe("pool_timeouts_total", "Requests that got no connection: from the pool in time, or because a relay did not accept it.", "pool")
)

// Describe implements [prometheus.Collector].
func (c poolCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPoolMax, descPoolOpen, descPoolWaits, descPoolTimeouts} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c poolCollector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.source.Pools() {
		gauge(ch, descPoolMax, float64(p.Max), p.Name)
		gauge(ch, descPoolOpen, float64(p.Open), p.Name)
		counter(ch, descPoolWaits, float64(p.Waits), p.Name)
		counter(ch, descPoolTimeouts, float64(p.Timeouts), p.Name)
	}
}

func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h lane.Histogram, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Counts))
	for i, n := range h.Counts {
		buckets[lane.Buckets[i].Seconds()] = n
	}
	ch <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets, labels...)
}
