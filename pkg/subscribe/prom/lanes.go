package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"freshet.dev/pkg/lane"
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

func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h lane.Histogram, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Counts))
	for i, n := range h.Counts {
		buckets[lane.Buckets[i].Seconds()] = n
	}
	ch <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets, labels...)
}
