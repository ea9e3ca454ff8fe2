package main

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/publish"
	publishprom "freshet.dev/pkg/publish/prom"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/prom"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
	"freshet.dev/services/relay"
	"freshet.dev/services/server"
)

// metric is a row of the table of metrics.
type metric struct {
	help     string
	labels   []string
	programs []string
}

// metricsTable returns the table of the metrics that the programs register.
func metricsTable(t *testing.T) string {
	t.Helper()
	all := map[string]*metric{}
	types := map[string]string{}
	for _, p := range registries(t) {
		described(t, p.name, p.registry, all)
		gathered(t, p.registry, types)
	}
	gathered(t, sampled(), types)
	var b strings.Builder
	b.WriteString("| metric | of | type | labels | meaning |\n|---|---|---|---|---|\n")
	for _, name := range sortedKeys(all) {
		m := all[name]
		kind := types[name]
		switch total := strings.HasSuffix(name, "_total"); {
		case kind == "" && total:
			kind = "counter" // without a sample in a program that has just started
		case kind == "":
			t.Errorf("no program has a sample of %s, which would show its type: add one to sampled", name)
		case total != (kind == "counter"):
			t.Errorf("%s is a %s: only counters end in _total, and all of them do", name, kind)
		}
		of := strings.Join(m.programs, ", ")
		if len(m.programs) == len(programs) {
			of = "all"
		}
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", name, of, kind, labels, strings.ReplaceAll(m.help, "|", `\|`))
	}
	return b.String()
}

func sortedKeys(all map[string]*metric) []string {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// registered is a service's name with its metrics.
type registered struct {
	name     string
	registry *prometheus.Registry
}

// registries returns the metrics of the three services, opened with backends that are down.
func registries(t *testing.T) []registered {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	const down = "127.0.0.1:1"
	load := func(config any) {
		t.Helper()
		if _, err := settings.Load(config); err != nil {
			t.Fatal(err)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	closing := func(deps interface{ Close() error }) {
		t.Cleanup(func() {
			if err := deps.Close(); err != nil {
				t.Error(err)
			}
		})
	}

	var p publisher.Config
	load(&p)
	p.StoreURL, p.NatsURL, p.TempDir = settings.URL("dir://"+t.TempDir()), "nats://"+down, t.TempDir()
	publisherDeps, err := publisher.Open(t.Context(), p, log)
	check(err)
	closing(publisherDeps)
	service, err := publisher.New(p, publisherDeps)
	check(err)
	service.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/datasets", nil))

	var r relay.Config
	load(&r)
	r.StoreURL = "http://" + down // relays behind others have more metrics
	relayDeps, err := relay.Open(t.Context(), r, log)
	check(err)
	closing(relayDeps)
	cache, err := relay.New(r, relayDeps)
	check(err)
	t.Cleanup(cache.Close)

	var s server.Config
	load(&s)
	s.NatsURL, s.Relays, s.Datasets = "nats://"+down, settings.List{"http://" + down}, settings.List{"prices"}
	s.RespListen = "0" // Redis' protocol has metrics of its own
	serverDeps, err := server.Open(t.Context(), s, log)
	check(err)
	closing(serverDeps)
	_, err = server.New(s, serverDeps)
	check(err)
	return []registered{{"publisher", publisherDeps.Registry}, {"relay", relayDeps.Registry}, {"server", serverDeps.Registry}}
}

// description is the text of a [prometheus.Desc], which has no accessors.
var description = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), .*constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// described adds the program's own metrics in the registry to all.
func described(t *testing.T, program string, registry *prometheus.Registry, all map[string]*metric) {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	for d := range descs {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			t.Errorf("%s is not the text of a description", d)
			continue
		}
		name, err1 := strconv.Unquote(m[1])
		help, err2 := strconv.Unquote(m[2])
		if err1 != nil || err2 != nil {
			t.Errorf("%s: %v, %v", d, err1, err2)
		}
		if !strings.HasPrefix(name, "freshet_") { // of the Go runtime and the process
			continue
		}
		if all[name] == nil {
			all[name] = &metric{help: help}
			for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[3], -1) {
				all[name].labels = append(all[name].labels, label[1])
			}
			if m[4] != "" {
				all[name].labels = append(all[name].labels, strings.Split(m[4], ",")...)
			}
		}
		if !slices.Contains(all[name].programs, program) { // one with constant labels is described several times
			all[name].programs = append(all[name].programs, program)
		}
	}
}

// gathered adds the types of the metrics that have a sample in the registry.
func gathered(t *testing.T, registry *prometheus.Registry, types map[string]string) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		types[f.GetName()] = strings.ToLower(f.GetType().String())
	}
}

// served is the status of an instance that serves a version.
type served struct{}

func (served) Status() fleet.Status {
	return fleet.Status{Datasets: []fleet.DatasetStatus{{Dataset: "prices", Version: 1, State: fleet.Fresh, Indexes: []fleet.IndexStatus{
		{Index: "name^", Lacking: []fleet.LackingRecords{{Reason: "missing", Records: 1}}},
	}}}}
}

// sampled returns metrics with samples that a program has only after a publish or a refresh.
func sampled() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	rec := dataset.VersionRecord{Dataset: "prices", Version: 1}
	prom.Observer(registry, "prices").Swapped(subscribe.Refresh{Record: rec, From: fleet.Relay, At: time.Now()})
	prom.Register(registry, served{})
	publishprom.New(registry).Published(publish.Result{Record: rec}, 1, time.Second)
	return registry
}
