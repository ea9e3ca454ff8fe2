package latency

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/servertest/footprint"
	"freshet.dev/scripts/benchmarks/internal/openloop"
)

// outer measures lookups over HTTP in a freshet-server.
type outer struct {
	*servertest.Process
	b     *bench
	url   string
	rate  float64
	scans *httpScans
}

func (t *outer) generator() openloop.Generator {
	return openloop.Generator{
		Addr: strings.TrimPrefix(t.url, "http://"), Path: "/v1/datasets/" + name + "/records/", Records: t.b.records, Connections: t.b.connections,
	}
}

// startServer starts a freshet-server and waits until it serves the dataset.
func (b *bench) startServer(ctx context.Context, meter *footprint.Meter, redis, relay string) (*outer, error) {
	url, process := b.system.Measured(meter, "", "NATS_URL="+b.system.NATS, "REDIS_URL="+redis, "RELAYS="+relay, "DATASETS="+name,
		"CACHE_DIR="+b.system.TempDir(), "INSTANCE=server")
	t := &outer{Process: process, b: b, url: url, scans: newHTTPScans(url, b.filter, b.records)}
	for start := time.Now(); ; pause(ctx, 20*time.Millisecond) {
		s, err := t.status(ctx)
		switch {
		case err == nil && len(s.Datasets) == 1 && s.Datasets[0].Version > 0:
			return t, nil
		case ctx.Err() != nil || time.Since(start) > time.Minute:
			process.Stop()
			return nil, fmt.Errorf("freshet-server serves nothing: %w", errors.Join(err, ctx.Err()))
		}
	}
}

func (t *outer) status(ctx context.Context) (s fleet.Status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+"/v1/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

func (t *outer) refreshes(ctx context.Context) (fleet.Refreshes, error) {
	s, err := t.status(ctx)
	if err == nil && len(s.Datasets) != 1 {
		err = errors.New("the status has no dataset")
	}
	if err != nil {
		return fleet.Refreshes{}, err
	}
	return s.Datasets[0].Refreshes, nil
}

func (t *outer) measure(ctx context.Context, scans scanKind) (measured, error) {
	during, stop := context.WithCancel(ctx)
	defer stop()
	var n counts
	var clients sync.WaitGroup
	if scans == inLane && t.b.scanned == "" {
		clients.Go(func() { n = saturate(during, t.b.requests, t.scans.call) })
	}
	m, err := t.b.generate(ctx, t.generator(), t.rate)
	stop()
	clients.Wait()
	m.calls = n
	return m, err
}

// generate measures lookups over HTTP at the rate.
func (b *bench) generate(ctx context.Context, g openloop.Generator, rate float64) (measured, error) {
	g.Rate, g.WarmUp, g.For = rate, warmUp, b.window
	l, err := g.Start(ctx, "latency", "-part", "generate")
	return measured{lookups: l.Latencies, lost: l.Latencies.TotalCount() - l.Statuses[http.StatusOK]}, err
}

// halfLoad returns the rate of lookups: that of the options, or half of what the server answers when it is idle.
func (b *bench) halfLoad(ctx context.Context, g openloop.Generator) (float64, error) {
	if b.httpRate > 0 {
		return b.httpRate, nil
	}
	g.WarmUp, g.For = warmUp, b.calm()
	l, err := g.Start(ctx, "latency", "-part", "generate")
	return l.PerSecond / 2, err
}

// overHTTP measures freshet-server.
func (b *bench) overHTTP(ctx context.Context) error {
	meter := footprint.New()
	t, err := b.startServer(ctx, meter, b.system.Redis, b.system.Relay)
	if err != nil {
		return err
	}
	b.scanned = t.scans.probe(ctx)
	if b.scanned != "" {
		b.notes = append(b.notes, "scan over HTTP: not available: "+b.scanned)
	}
	if t.rate, err = b.halfLoad(ctx, t.generator()); err != nil {
		return err
	}
	columns, err := b.measureAll(ctx, t, loads)
	if err == nil && b.options.surge > 0 && b.scanned == "" {
		err = b.surgeOverHTTP(ctx, t, meter)
	}
	if err != nil {
		return fmt.Errorf("over HTTP: %w", err)
	}
	t.Stop()
	slow, err := b.slowly(func(redis, relay string) ([]column, error) {
		s, err := b.startServer(ctx, nil, redis, relay)
		if err != nil {
			return nil, err
		}
		s.rate = t.rate
		defer s.Stop()
		return b.measureAll(ctx, s, slowLoads)
	})
	if err != nil {
		return fmt.Errorf("over HTTP, behind proxies: %w", err)
	}
	b.tables = append(b.tables, table{
		title:   fmt.Sprintf("Over HTTP: freshet-server, %.0f GET a second, half of what it answers when it is idle", t.rate),
		columns: append(columns, slow...), instance: true,
	})
	return nil
}

// httpScans sends scans to a server.
type httpScans struct {
	client  *http.Client
	url     string
	body    string
	records int

	mu    sync.Mutex
	first string // the first answer that is neither 200 nor a refusal; guarded by mu
}

// scanWithin bounds a scan.
const scanWithin = 2 * time.Minute

func newHTTPScans(url, filter string, records int) *httpScans {
	body, err := json.Marshal(map[string]string{"filter": filter})
	if err != nil {
		panic(err) // a string is always JSON
	}
	transport := &http.Transport{MaxIdleConnsPerHost: mostOffered}
	return &httpScans{client: &http.Client{Transport: transport, Timeout: scanWithin}, url: url + "/v1/datasets/" + name + "/scan", body: string(body), records: records}
}

// probe returns why the server does not scan, "" if it does.
func (s *httpScans) probe(ctx context.Context) string {
	status, _, text, err := s.post(ctx)
	if err != nil {
		return err.Error()
	}
	if status != http.StatusOK {
		return fmt.Sprintf("POST %s answers %d: %.300s", s.url, status, text)
	}
	return s.incomplete(text)
}

// incomplete returns why the last line of an answer is not that of a scan of all records, "" if it is.
func (s *httpScans) incomplete(last string) string {
	var summary struct {
		End     bool
		Scanned int
		Errors  int
	}
	if err := json.Unmarshal([]byte(last), &summary); err != nil || !summary.End || summary.Scanned != s.records || summary.Errors > 0 {
		return fmt.Sprintf("a scan of %d records ends with %.300s", s.records, last)
	}
	return ""
}

// post sends a scan. text is the body of a refusal, and the last line of any other answer.
func (s *httpScans) post(ctx context.Context) (status int, header http.Header, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(s.body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return resp.StatusCode, resp.Header, string(b), err
	}
	// The last line is the summary.
	var last string
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		last = lines.Text()
	}
	return resp.StatusCode, resp.Header, last, lines.Err()
}

// call sends one scan, reads its whole answer and checks that it scanned all records.
func (s *httpScans) call(ctx context.Context) outcome {
	status, header, text, err := s.post(ctx)
	switch {
	case ctx.Err() != nil:
		return stopped
	case err != nil:
		text = err.Error()
	case status == http.StatusOK:
		if text = s.incomplete(text); text == "" {
			return done
		}
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		if header.Get("Retry-After") != "" {
			return shed
		}
		return unclear
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == "" {
		s.first = fmt.Sprintf("%d %.300s", status, text)
	}
	return failed
}
