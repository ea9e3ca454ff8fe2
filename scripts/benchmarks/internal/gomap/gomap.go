// Package gomap is the service that freshet is compared with: a map of decoded structs behind a lock, which a new version replaces by
// decoding all records from NDJSON again. It answers lookups in its own process and over HTTP.
package gomap

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"freshet.dev/scripts/benchmarks/internal/control"
	"freshet.dev/scripts/benchmarks/internal/openloop"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// Path is the path of the records before the key.
const Path = "/records/"

// Command is a command to the process.
type Command struct {
	Do string // load, measure, reload or update
	// Rate, WarmUp and For are those of measure. It reloads in turn if Reload is true. For is also how long reload goes on.
	Rate        float64
	WarmUp, For time.Duration
	Reload      bool
	// Generation is that of the records that update changes.
	Generation int
}

// Result is the result of a command.
type Result struct {
	Addr    string // of the HTTP server
	Ticks   openloop.Ticks
	Reloads int
	Took    time.Duration
	// Resident is the resident memory afterwards.
	Resident int64
}

// WriteFile writes count rows as NDJSON into the folder, and returns the name of the file.
func WriteFile(folder string, count int) (name string, err error) {
	f, err := os.Create(filepath.Join(folder, fmt.Sprintf("%d.ndjson", count)))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	for i := range count {
		line = append(rows.AppendValue(line[:0], i), '\n')
		if _, err := w.Write(line); err != nil {
			return "", err
		}
	}
	return f.Name(), w.Flush()
}

// service is the process.
type service struct {
	file string
	addr string

	mu      sync.RWMutex
	records map[string]rows.Row // guarded by mu
}

// Main is the main function of the process. It serves the rows of the file.
func Main(ctx context.Context, file string, in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &service{file: file, addr: l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path+"{key}", s.answer)
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }() // it ends with the process
	return errors.Join(control.Serve(ctx, in, out, s.obey), server.Close())
}

func (s *service) obey(ctx context.Context, c Command) (any, error) {
	r := Result{Addr: s.addr}
	start := time.Now()
	var err error
	switch c.Do {
	case "load":
		err = s.load()
	case "measure":
		r, err = s.measure(ctx, c)
	case "reload":
		r.Reloads, err = s.reload(ctx, c.For)
	case "update":
		s.update(c.Generation)
	default:
		err = fmt.Errorf("no command is called %q", c.Do)
	}
	if err != nil {
		return nil, err
	}
	r.Took = time.Since(start)
	r.Resident, err = proc.Resident()
	return r, err
}

func (s *service) get(key string) (rows.Row, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.records[key]
	return r, ok
}

func (s *service) answer(w http.ResponseWriter, r *http.Request) {
	row, ok := s.get(r.PathValue("key"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if body, err := json.Marshal(row); err == nil {
		_, _ = w.Write(body) // it fails only when the client has left
	}
}

// load replaces the map.
func (s *service) load() error {
	f, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer f.Close()
	next := make(map[string]rows.Row)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var r rows.Row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		next[r.Key] = r
	}
	if err := lines.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	s.records = next
	s.mu.Unlock()
	return nil
}

// reload replaces the map again and again for the time of d.
func (s *service) reload(ctx context.Context, d time.Duration) (n int, err error) {
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; n++ {
		if err := s.load(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// update decodes and replaces 1 % of the records in place, others in each generation. No map is copied for it.
func (s *service) update(generation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var line []byte
	for i := generation % 100; i < len(s.records); i += 100 {
		line = rows.AppendGeneration(line[:0], i, generation)
		var r rows.Row
		if json.Unmarshal(line, &r) == nil {
			s.records[r.Key] = r
		}
	}
}

// differentKeys is the number of keys of the lookups.
const differentKeys = 1 << 16

func (s *service) measure(ctx context.Context, c Command) (r Result, err error) {
	r.Addr = s.addr
	s.mu.RLock()
	count := len(s.records)
	s.mu.RUnlock()
	keys := Keys(count)
	reloads := make(chan error, 1)
	go func() {
		var err error
		if c.Reload {
			r.Reloads, err = s.reload(ctx, c.WarmUp+c.For)
		}
		reloads <- err
	}()
	r.Ticks, err = openloop.Tick(ctx, c.Rate, c.WarmUp, c.For, func(n int64) bool {
		_, ok := s.get(keys[n%differentKeys])
		return ok
	})
	return r, errors.Join(err, <-reloads)
}

// Keys returns the keys of random rows of count, as strings.
func Keys(count int) []string {
	keys := make([]string, differentKeys)
	for i, key := range rows.Keys(rand.New(rand.NewPCG(3, uint64(count))), differentKeys, 0, count) {
		keys[i] = string(key)
	}
	return keys
}
