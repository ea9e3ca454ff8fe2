package resp

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"
)

// infoSections are the sections of INFO, in their order. Exporters and clients read those of Redis.
var infoSections = []struct {
	name  string
	write func(p *Port, line func(name string, value any))
}{
	{"Server", infoServer},
	{"Clients", func(p *Port, line func(string, any)) {
		line("connected_clients", p.count())
		line("maxclients", p.cfg.Connections)
		line("blocked_clients", p.blocked.Load())
	}},
	{"Memory", infoMemory},
	{"Persistence", func(p *Port, line func(string, any)) {
		_, missing := p.served()
		loading := 0
		if missing > 0 && missing == len(p.sorted) { // clients wait until it is 0: datasets that are served do not wait for others
			loading = 1
		}
		line("loading", loading)
		line("rdb_changes_since_last_save", 0)
		line("rdb_bgsave_in_progress", 0)
		line("aof_enabled", 0)
	}},
	{"Stats", infoStats},
	{"Replication", func(_ *Port, line func(string, any)) {
		line("role", "master") // clients write to a replica's master, and there is none
		line("connected_slaves", 0)
	}},
	{"Modules", func(*Port, func(string, any)) {}},
	{"Commandstats", func(p *Port, line func(string, any)) {
		for i, c := range commands {
			if n := p.metrics.commands[i].Load(); n > 0 {
				line("cmdstat_"+c.name, fmt.Sprintf("calls=%d", n))
			}
		}
	}},
	{"Errorstats", func(*Port, func(string, any)) {}},
	{"Cluster", func(_ *Port, line func(string, any)) { line("cluster_enabled", 0) }},
	{"Keyspace", func(p *Port, line func(string, any)) {
		if n, _ := p.served(); n > 0 {
			line("db0", fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", n))
		}
	}},
	{"Freshet", infoFreshet},
}

// info answers INFO [section ...].
func info(x *executor, c *conn, out []byte) []byte {
	var wanted []string
	for _, a := range x.args[1:] {
		wanted = append(wanted, strings.ToLower(string(a)))
	}
	all := len(wanted) == 0
	for _, general := range []string{"all", "default", "everything"} {
		all = all || slices.Contains(wanted, general)
	}
	var b strings.Builder
	for _, s := range infoSections {
		if !all && !slices.Contains(wanted, strings.ToLower(s.name)) || len(wanted) == 0 && s.name == "Commandstats" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		fmt.Fprintf(&b, "# %s\r\n", s.name)
		s.write(x.port, func(name string, value any) { fmt.Fprintf(&b, "%s:%v\r\n", name, value) })
	}
	return appendText(out, c.Protocol(), b.String())
}

func infoServer(p *Port, line func(string, any)) {
	up := time.Since(p.started)
	line("redis_version", compatible)
	line("redis_mode", "standalone")
	line("freshet_version", p.build)
	line("os", runtime.GOOS+" "+runtime.GOARCH)
	line("arch_bits", 32<<(^uint(0)>>63))
	line("go_version", runtime.Version())
	line("process_id", os.Getpid())
	line("tcp_port", p.port())
	line("uptime_in_seconds", int(up.Seconds()))
	line("uptime_in_days", int(up.Hours()/24))
}

func infoMemory(p *Port, line func(string, any)) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	line("used_memory", samples[1].Value.Uint64())
	line("used_memory_rss", samples[0].Value.Uint64())
	line("maxmemory", 0)
	line("maxmemory_policy", "noeviction")
	line("mem_clients_normal", p.waiting.Load())
}

func infoStats(p *Port, line func(string, any)) {
	m := p.metrics
	line("total_connections_received", m.accepted.Load())
	line("total_commands_processed", m.executed())
	line("total_net_input_bytes", m.received.Load())
	line("total_net_output_bytes", m.sent.Load())
	line("rejected_connections", m.refused.Load())
	line("total_error_replies", m.errors.Load())
	line("expired_keys", 0)
	line("evicted_keys", 0)
}

// infoFreshet writes a line for each dataset.
func infoFreshet(p *Port, line func(string, any)) {
	line("datasets", len(p.sorted))
	for _, d := range p.sorted {
		t, id := d.Table(), d.VersionID()
		if t == nil {
			line("dataset_"+d.name, "version=0,records=0,bytes=0")
			continue
		}
		if d.Table() != t { // swapped in between: the id may be of the next version
			t, id = d.Table(), d.VersionID()
		}
		_, deleted := d.Deleted()
		line("dataset_"+d.name, fmt.Sprintf("version=%d,records=%d,bytes=%d,id=%s,deleted=%t", t.Version(), t.Len(), t.Bytes(), id, deleted))
	}
}

// served returns the number of records of all datasets, and how many datasets have no version.
func (p *Port) served() (records, missing int) {
	for _, d := range p.sorted {
		if t := d.Table(); t != nil {
			records += t.Len()
		} else {
			missing++
		}
	}
	return records, missing
}
