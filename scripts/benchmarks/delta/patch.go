package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// patched are the times of one patch, in nanoseconds.
type patched struct {
	// Answered is the time from the start of the request to the publisher's answer, Served to the last instance that serves the
	// version. Refresh is the longest refresh of an instance, from its start to the swap.
	Answered, Served, Refresh int64
}

// patcher sends patches to a publisher and waits for the instances.
type patcher struct {
	publisher string
	instances []string // URLs
	reports   *fleet.Reports
	rng       *rand.Rand
}

// newPatcher returns a patcher of the dataset with the name. The caller calls close.
func newPatcher(ctx context.Context, natsURL, publisher, name string) (p *patcher, close func(), err error) {
	nc, err := events.Connect(natsURL, "bench", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	p = &patcher{publisher: publisher, rng: rand.New(rand.NewPCG(2, 3))}
	if err = connected(ctx, nc); err == nil {
		p.reports, err = fleet.WatchReports(ctx, nc, "", name)
	}
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return p, func() { p.reports.Close(); nc.Close() }, nil
}

// connected waits until nc is connected.
func connected(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

// patience is the timeout of the waits.
const patience = time.Minute

// served waits until the given number of instances serve the version. It returns when the last instance began to serve it, and the
// duration of the longest refresh.
func (p *patcher) served(ctx context.Context, version uint64, instances int) (last time.Time, longest time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	seen := make(map[string]bool)
	for len(seen) < instances {
		r, err := p.reports.Next(ctx)
		if err != nil {
			return last, 0, fmt.Errorf("wait for version %d: %w", version, err)
		}
		if r.Error != "" {
			return last, 0, fmt.Errorf("%s cannot serve version %d: %s", r.Instance, r.Version, r.Error)
		}
		if r.Version < version || seen[r.Instance] {
			continue
		}
		seen[r.Instance] = true
		if r.Served.After(last) {
			last = r.Served
		}
		longest = max(longest, r.Duration)
	}
	return last, longest, nil
}

// send patches n random rows of count in the dataset with the name. It returns the new version and one of the changed rows.
func (p *patcher) send(ctx context.Context, name string, count, n, generation int) (rec dataset.VersionRecord, key, value []byte, start time.Time, err error) {
	picked := make(map[int]bool)
	var body []byte
	for len(picked) < n {
		i := p.rng.IntN(count)
		if picked[i] {
			continue
		}
		picked[i] = true
		key, value = rows.AppendKey(nil, i), rows.AppendGeneration(nil, i, generation)
		body = append(append(body, value...), '\n')
	}
	start = time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, p.publisher+"/v1/datasets/"+name+"?key=key", bytes.NewReader(body))
	if err != nil {
		return rec, nil, nil, start, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	status, answer, err := do(req)
	if err != nil {
		return rec, nil, nil, start, err
	}
	var is struct {
		Record    dataset.VersionRecord `json:"version_record"`
		Announced bool                  `json:"announced"`
	}
	if err = json.Unmarshal(answer, &is); err == nil && (status != http.StatusCreated || !is.Announced) {
		err = errors.New("not created or not announced")
	}
	if err != nil {
		return rec, nil, nil, start, fmt.Errorf("patch %s: %w: %d %.500s", name, err, status, answer)
	}
	return is.Record, key, value, start, nil
}

func do(req *http.Request) (int, []byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// one sends a patch of n rows, waits until all instances serve it, and checks a row in each instance.
func (p *patcher) one(ctx context.Context, name string, count, n, generation int) (patched, error) {
	rec, key, value, start, err := p.send(ctx, name, count, n, generation)
	if err != nil {
		return patched{}, err
	}
	answered := time.Since(start)
	last, refresh, err := p.served(ctx, rec.Version, len(p.instances))
	if err != nil {
		return patched{}, err
	}
	for _, url := range p.instances {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/datasets/"+name+"/records/"+string(key), nil)
		if err != nil {
			return patched{}, err
		}
		if status, got, err := do(req); err != nil || status != http.StatusOK || !bytes.Equal(got, value) {
			return patched{}, fmt.Errorf("%s answers %d %s for a record that version %d changed to %s: %w", url, status, got, rec.Version, value, err)
		}
	}
	return patched{Answered: int64(answered), Served: int64(last.Sub(start)), Refresh: int64(refresh)}, nil
}

// middle returns the medians.
func middle(all []patched) patched {
	var answered, served, refresh []int64
	for _, p := range all {
		answered, served, refresh = append(answered, p.Answered), append(served, p.Served), append(refresh, p.Refresh)
	}
	return patched{proc.Median(answered), proc.Median(served), proc.Median(refresh)}
}
