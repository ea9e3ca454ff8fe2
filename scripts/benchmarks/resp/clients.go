package resp

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"freshet.dev/scripts/benchmarks/internal/markdown"
	"freshet.dev/scripts/benchmarks/internal/system"
)

// The clients: lookups one after the other on one connection, over HTTP or in Redis' protocol.
var (
	//go:embed client.py
	pythonClient string
	//go:embed client.js
	nodeClient string
)

// language is a language of a client.
type language struct {
	name, file, text string
	programs         []string // in order of preference
	install          string
}

var languages = []language{
	// Debian's package python3-redis is for Debian's Python.
	{"Python", "client.py", pythonClient, []string{"/usr/bin/python3", "python3"}, "apt-get install python3-redis"},
	{"Node", "client.js", nodeClient, []string{"node"}, "npm install --prefix dist/npm redis"},
}

// latencies are the result of a client.
type latencies struct {
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	Hits int     `json:"hits"`
	// Library names the client's library and its version.
	Library string `json:"library"`
	Error   string `json:"error"` // why the client cannot run
}

// measureClients prints the latencies of the clients.
func (b *bench) measureClients(ctx context.Context, s *system.System) error {
	both, err := b.startBoth(ctx, s, processors[len(processors)-1])
	if err == nil {
		err = b.printClients(ctx, both)
	}
	return errors.Join(err, both[0].stop(), both[1].stop())
}

// way is how a client gets a record.
type way struct{ name, protocol, addr string }

func (b *bench) printClients(ctx context.Context, both [2]server) error {
	ways := []way{
		{"freshet-server, HTTP", "http", strings.TrimPrefix(both[1].http, "http://")},
		{"freshet-server, Redis' protocol", "resp", both[1].addr},
		{"redis-server", "resp", both[0].addr},
	}
	var cells [][]string
	for _, l := range languages {
		program, ok := l.find()
		if !ok {
			b.notes = append(b.notes, fmt.Sprintf("The client in %s was not measured: %s is missing.", l.name, strings.Join(l.programs, " or ")))
			continue
		}
		file := filepath.Join(b.folder, l.file)
		if err := os.WriteFile(file, []byte(l.text), 0o600); err != nil {
			return err
		}
		for _, w := range ways {
			r, err := b.client(ctx, program, file, w)
			switch {
			case err != nil:
				return fmt.Errorf("%s, %s: %w", l.name, w.name, err)
			case r.Error != "":
				b.notes = append(b.notes, fmt.Sprintf("The client in %s was not measured with %s: %s. Install it: %s", l.name, w.name, r.Error, l.install))
				continue
			case r.Hits != b.calls:
				return fmt.Errorf("%s, %s: %d of %d lookups found their record", l.name, w.name, r.Hits, b.calls)
			}
			cells = append(cells, []string{l.name + ", " + r.Library, w.name, markdown.Number(r.P50), markdown.Number(r.P99)})
		}
	}
	return markdown.Table(b.out, fmt.Sprintf("One client, %d lookups one after the other", b.calls), []string{"client", "server", "p50 us", "p99 us"}, cells)
}

func (l language) find() (program string, ok bool) {
	for _, p := range l.programs {
		if path, err := exec.LookPath(p); err == nil {
			return path, true
		}
	}
	return "", false
}

// clientWithin bounds a client.
const clientWithin = 3 * time.Minute

func (b *bench) client(ctx context.Context, program, file string, w way) (r latencies, err error) {
	ctx, cancel := context.WithTimeout(ctx, clientWithin)
	defer cancel()
	host, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, program, file, w.protocol, host, port, name, strconv.Itoa(b.records), strconv.Itoa(b.calls))
	cmd.Env = append(os.Environ(), "NODE_PATH="+b.modules)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(out, &r)
}
