package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"freshet.dev/pkg/servertest/footprint"
	"freshet.dev/scripts/benchmarks/internal/proc"
)

// row is what was measured with one number of clients.
type row struct {
	clients int
	// cold is one pull by each client, all at once, of an object that the relay has not read yet. peak is the relay's
	// peak memory in the whole measurement; the other numbers are of the cold pull alone.
	cold                                          haul
	peak                                          footprint.Peak
	originBytes, originReads, evictions, resident int64
	// relay, nginx and sendfile are throughputs in bytes a second with the object in memory, as far as it fits.
	relay, nginx, sendfile float64
	// wholeClients is how many clients the handler that reads whole files has: as many as have their files fit into
	// wholeBudget.
	wholeClients int
	whole        float64
	wholePeak    footprint.Peak
}

// wholeBudget bounds the memory of the handler that reads the whole file for each request.
const wholeBudget = 6 << 30

// measureClients measures one number of clients.
func (o options) measureClients(ctx context.Context, folder, program string, obj object, budget int64, clients int) (row, error) {
	r := row{clients: clients}
	relay, err := startRelay(ctx, program, obj, budget)
	if err != nil {
		return row{}, err
	}
	defer relay.stop()
	pulls := swarm{Bytes: obj.bytes, Clients: clients}
	if r.cold, err = pulls.against(ctx, relay); err != nil {
		return row{}, err
	}
	if r.cold.Whole != int64(clients) {
		return row{}, fmt.Errorf("%d of %d clients got the object", r.cold.Whole, clients)
	}
	counts, err := metrics(ctx, relay)
	if err != nil {
		return row{}, err
	}
	r.originBytes, r.originReads = counts["freshet_relay_origin_bytes_total"], counts["freshet_relay_origin_reads_total"]
	r.evictions, r.resident = counts["freshet_relay_segment_evictions_total"], counts["freshet_relay_cache_resident_bytes"]

	nginx, err := startNginx(ctx, folder, obj)
	if err != nil {
		return row{}, err
	}
	defer nginx.stop()
	kernel, err := startHandler(ctx, sendfile, obj, clients)
	if err != nil {
		return row{}, err
	}
	defer kernel.stop()
	pulls.Window = o.window
	rates := make([][]float64, 3)
	for range o.rounds {
		for i, s := range []*server{relay, nginx, kernel} {
			h, err := pulls.against(ctx, s)
			if err != nil {
				return row{}, err
			}
			rates[i] = append(rates[i], h.perSecond())
		}
	}
	r.relay, r.nginx, r.sendfile = proc.Median(rates[0]), proc.Median(rates[1]), proc.Median(rates[2])
	if r.peak, err = relay.meter.Peak(); err != nil {
		return row{}, err
	}
	return r, o.measureWhole(ctx, obj, &r)
}

// measureWhole measures the handler that reads the whole file for each request.
func (o options) measureWhole(ctx context.Context, obj object, r *row) error {
	r.wholeClients = min(r.clients, int(wholeBudget/obj.bytes))
	s, err := startHandler(ctx, wholeFile, obj, r.wholeClients)
	if err != nil {
		return err
	}
	defer s.stop()
	h, err := swarm{Bytes: obj.bytes, Clients: r.wholeClients}.against(ctx, s)
	if err != nil {
		return err
	}
	r.whole = h.perSecond()
	r.wholePeak, err = s.meter.Peak()
	return err
}

// against runs the swarm against s in a child process.
func (cfg swarm) against(ctx context.Context, s *server) (haul, error) {
	cfg.Addr, cfg.Path = s.addr, s.path
	text, err := json.Marshal(cfg)
	if err != nil {
		return haul{}, err
	}
	var h haul
	if err := proc.Child(ctx, &h, "relay", "-part", "swarm", "-swarm", string(text)); err != nil {
		return haul{}, fmt.Errorf("%s: %w; its output: %s", s.name, err, s.out.String())
	}
	return h, nil
}

// metrics returns the relay's metrics that have no labels, in whole numbers.
func metrics(ctx context.Context, s *server) (map[string]int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	counts := make(map[string]int64)
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if name, text, ok := strings.Cut(lines.Text(), " "); ok {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				counts[name] = int64(v)
			}
		}
	}
	return counts, lines.Err()
}
