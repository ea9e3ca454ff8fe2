package resp

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// cut is why the port closed a connection.
type cut int

const (
	cutOutput   cut = iota // more replies wait than may
	cutStalled             // the client reads nothing of the replies that wait
	cutPushes              // the client does not read what a tracker pushes
	cutHalf                // a part of a command, and not the rest
	cutStranger            // no password
	cutIdle
	cuts
)

var cutNames = [cuts]string{"output", "stalled", "pushes", "half_command", "no_password", "idle"}

// counters counts what the port does. It implements [prometheus.Collector].
type counters struct {
	port *Port

	commands                  []atomic.Uint64 // by command.index
	errors, accepted, refused atomic.Uint64
	denied, panics            atomic.Uint64
	received, sent            atomic.Uint64 // bytes
	cut                       [cuts]atomic.Uint64
}

var (
	descConnections = prometheus.NewDesc("freshet_resp_connections", "Open connections of Redis' protocol.", nil, nil)
	descAccepted    = prometheus.NewDesc("freshet_resp_connections_total", "Connections of Redis' protocol accepted.", nil, nil)
	descRefused     = prometheus.NewDesc("freshet_resp_connections_refused_total", "Connections refused because FRESHET_RESP_CONNECTIONS were open.", nil, nil)
	descCommands    = prometheus.NewDesc("freshet_resp_commands_total", "Commands of Redis' protocol, by name; unknown commands are errors only.", []string{"command"}, nil)
	descErrors      = prometheus.NewDesc("freshet_resp_errors_total", "Error replies.", nil, nil)
	descDenied      = prometheus.NewDesc("freshet_resp_wrong_passwords_total", "Commands with a wrong password.", nil, nil)
	descPanics      = prometheus.NewDesc("freshet_resp_panics_total", "Commands that failed because of a defect; should stay 0.", nil, nil)
	descReceived    = prometheus.NewDesc("freshet_resp_received_bytes_total", "Bytes of commands.", nil, nil)
	descSent        = prometheus.NewDesc("freshet_resp_sent_bytes_total", "Bytes of replies and pushes.", nil, nil)
	descWaiting     = prometheus.NewDesc("freshet_resp_waiting_bytes", "Bytes of replies that wait for clients to read.", nil, nil)
	descCut         = prometheus.NewDesc("freshet_resp_connections_cut_total", "Connections closed by the server, by reason.", []string{"reason"}, nil)
)

func newCounters(p *Port, registry prometheus.Registerer) *counters {
	m := &counters{port: p, commands: make([]atomic.Uint64, len(commands))}
	registry.MustRegister(m)
	return m
}

// Describe implements [prometheus.Collector].
func (m *counters) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements [prometheus.Collector].
func (m *counters) Collect(out chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
	}
	send(descConnections, prometheus.GaugeValue, float64(m.port.count()))
	send(descWaiting, prometheus.GaugeValue, float64(m.port.waiting.Load()))
	for i := range m.commands {
		if n := m.commands[i].Load(); n > 0 || commands[i].name == "get" {
			send(descCommands, prometheus.CounterValue, float64(n), commands[i].name)
		}
	}
	for i := range m.cut {
		send(descCut, prometheus.CounterValue, float64(m.cut[i].Load()), cutNames[i])
	}
	for _, c := range []struct {
		desc *prometheus.Desc
		n    *atomic.Uint64
	}{
		{descAccepted, &m.accepted},
		{descRefused, &m.refused},
		{descErrors, &m.errors},
		{descDenied, &m.denied},
		{descPanics, &m.panics},
		{descReceived, &m.received},
		{descSent, &m.sent},
	} {
		send(c.desc, prometheus.CounterValue, float64(c.n.Load()))
	}
}

// executed returns the number of commands.
func (m *counters) executed() (n uint64) {
	for i := range m.commands {
		n += m.commands[i].Load()
	}
	return n
}
