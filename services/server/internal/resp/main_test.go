package resp

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a dataset of a test.
type fake struct {
	atomic.Pointer[table.Table]
	deleted *dataset.VersionRecord
}

func (f *fake) Table() *table.Table { return f.Load() }

func (f *fake) VersionID() (id dataset.VersionID) {
	if t := f.Load(); t != nil {
		id[0] = byte(t.Version())
	}
	return id
}

func (f *fake) Deleted() (rec dataset.VersionRecord, ok bool) {
	if f.deleted != nil {
		return *f.deleted, true
	}
	return rec, false
}

const testSeed = 7

// serve makes a version of the records and serves it.
func (f *fake) serve(tb testing.TB, version uint64, records map[string]string) *fake {
	tb.Helper()
	var all []dataset.Record
	var raw int64
	for k, v := range records {
		r := dataset.Record{Key: []byte(k), Value: []byte(v)}
		all = append(all, r)
		raw += int64(r.EncodedBytes())
	}
	slices.SortFunc(all, func(a, b dataset.Record) int {
		ha, hb := dataset.Hash(testSeed, a.Key), dataset.Hash(testSeed, b.Key)
		switch {
		case ha < hb:
			return -1
		case ha > hb:
			return 1
		}
		return bytes.Compare(a.Key, b.Key)
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: testSeed, RawBytes: raw})
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range all {
		if err := w.Add(r); err != nil {
			tb.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	r, err := snapshot.NewReader(&file)
	if err != nil {
		tb.Fatal(err)
	}
	loaded, err := table.Load(tb.Context(), r, table.Config{Version: version})
	if err != nil {
		tb.Fatal(err)
	}
	f.Store(loaded)
	return f
}

// cities is a dataset of a few records.
func cities(tb testing.TB) *fake {
	return new(fake).serve(tb, 3, map[string]string{
		"KR:1": `{"name":"Seoul","people":9400000,"at":{"lat":37.5,"lon":127},"tags":["a","b"],"capital":true,"mayor":null,"q\"":"x\ty","a.b":1}`,
		"KR:2": `{"name":"Busan"}`,
		"CH:1": `{"name":"Zürich"}`,
		"raw":  "\x00\x01\r\n",
		"none": "",
	})
}

func testConfig() Config {
	return Config{Listen: "127.0.0.1:0", Connections: 100, Keys: 50, Bytes: 2 << 20, Output: 4 << 20}
}

func newPort(cfg Config, datasets map[string]*fake) *Port {
	deps := Deps{Datasets: make(map[string]Dataset), Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Build: "v0.0-test"}
	for name, d := range datasets {
		deps.Datasets[name] = d
	}
	return New(cfg, deps)
}

// talk is a client without a connection.
type talk struct {
	t        testing.TB
	executor executor
	conn     *conn
	in       []byte
}

func newTalk(t testing.TB, p *Port) *talk {
	c := &conn{id: 7, limit: p.cfg.Output, authed: !p.protected, wake: func() {}}
	c.proto.Store(2)
	return &talk{t: t, executor: newExecutor(p), conn: c}
}

// send executes what bytes say and returns the replies.
func (k *talk) send(bytes string) string {
	k.in = append(k.in, bytes...)
	var replies []byte
	for {
		var out []byte
		k.in, out = k.executor.run(k.conn, k.in, nil)
		replies = append(replies, out...)
		if !k.executor.more(out) {
			return string(replies)
		}
	}
}

// do executes a command and returns its reply.
func (k *talk) do(args ...string) string { return k.send(encode(args...)) }

func encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// want fails the test unless the reply to the command, given as words, is reply. Its lines are written with | between them.
func (k *talk) want(command, reply string) {
	k.t.Helper()
	got := strings.TrimSuffix(strings.ReplaceAll(k.do(strings.Fields(command)...), "\r\n", "|"), "|")
	if got != reply {
		k.t.Errorf("%s:\n got %s\nwant %s", command, got, reply)
	}
}
