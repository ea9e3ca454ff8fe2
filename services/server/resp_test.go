package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const respPassword = "open sesame"

// respConfig is config with Redis' protocol, on a free port and with a password.
func respConfig(t *testing.T) server.Config {
	cfg := config()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(respPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.RespListen, cfg.RespPasswordFile, cfg.RespConnections, cfg.RespOutputBytes = "0", file, 1000, 8<<20
	cfg.BatchKeys = 1000
	return cfg
}

// runResp runs a server with Redis' protocol and a few records, and returns it and the port.
func runResp(t *testing.T, cfg server.Config) (s *server.Server, port string) {
	t.Helper()
	return runRespOf(t, cfg, newSource("cities", "prices"))
}

// runRespOf is runResp with a source to which it adds versions.
func runRespOf(t *testing.T, cfg server.Config, src *source) (s *server.Server, port string) {
	t.Helper()
	cities := map[string]string{"a": `{"name":"A"}`, "b": "{}"}
	for i := range 99 {
		cities[fmt.Sprintf("k%d", i)] = "{}"
	}
	src.serve(t, "cities", 5, cities)
	src.serve(t, "prices", 1, map[string]string{"p": "1"})
	s = newServerWith(t, cfg, src)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a stop is an error: %v", err)
		}
	})
	host, port, err := net.SplitHostPort(s.RespAddr())
	if err != nil || host != "127.0.0.1" {
		t.Fatalf("a port alone listens on %s, %v; want loopback", s.RespAddr(), err)
	}
	return s, port
}

// tool runs a program of the test and returns what it prints. remedy installs the program.
func tool(t *testing.T, remedy, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s, which is not in PATH: %s", name, remedy)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %.500q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

const redisTools = "apt-get install redis-tools"

func TestRedisCLI(t *testing.T) {
	_, port := runResp(t, respConfig(t))
	cli := func(args ...string) string {
		t.Helper()
		return tool(t, redisTools, "redis-cli", append([]string{"-p", port, "--no-auth-warning", "-a", respPassword}, args...)...)
	}
	for _, protocol := range []string{"-2", "-3"} {
		for want, args := range map[string][]string{
			"{\"name\":\"A\"}\n":    {"get", "cities:a"},
			"\n":                    {"get", "cities:nope"},
			"A\n":                   {"hget", "cities:a", "name"},
			"name\nA\n":             {"hgetall", "cities:a"},
			"102\n":                 {"dbsize"},
			"{\"name\":\"A\"}\n1\n": {"mget", "cities:a", "prices:p"},
		} {
			if got := cli(append([]string{protocol}, args...)...); strings.ReplaceAll(got, " ", "\n") != want {
				t.Errorf("%s %q: %q, want %q", protocol, args, got, want)
			}
		}
		if got := cli(protocol, "set", "cities:a", "1"); !strings.Contains(got, "READONLY") || !strings.Contains(got, "freshet publish") {
			t.Error(got)
		}
	}
	if got := strings.Fields(cli("--scan", "--pattern", "cities:k*")); len(got) != 99 {
		t.Errorf("%d keys", len(got))
	}
	if got := cli("info"); !strings.Contains(got, "redis_version:") || !strings.Contains(got, "dataset_cities:version=5,records=101,") {
		t.Error(got)
	}
	if got := tool(t, redisTools, "redis-cli", "-p", port, "get", "cities:a"); !strings.Contains(got, "NOAUTH") {
		t.Error(got)
	}
	if got := tool(t, redisTools, "redis-benchmark", "-p", port, "-a", respPassword, "-n", "5000", "-P", "16", "--csv", "get", "cities:a"); !strings.Contains(got, "get cities:a") {
		t.Error(got)
	}
}

func TestGoRedis(t *testing.T) {
	_, port := runResp(t, respConfig(t))
	for _, protocol := range []int{2, 3} {
		c := redis.NewClient(&redis.Options{
			Addr: "127.0.0.1:" + port, Password: respPassword, Protocol: protocol, ClientName: "go",
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		testGoRedis(t, c)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func testGoRedis(t *testing.T, c *redis.Client) {
	ctx := t.Context()
	if v, err := c.Get(ctx, "cities:a").Result(); err != nil || v != `{"name":"A"}` {
		t.Error(v, err)
	}
	if v, err := c.Get(ctx, "cities:nope").Result(); !errors.Is(err, redis.Nil) {
		t.Error(v, err)
	}
	if v, err := c.MGet(ctx, "cities:a", "cities:nope", "prices:p").Result(); err != nil || fmt.Sprint(v) != `[{"name":"A"} <nil> 1]` {
		t.Error(v, err)
	}
	if v, err := c.HGetAll(ctx, "cities:a").Result(); err != nil || fmt.Sprint(v) != "map[name:A]" {
		t.Error(v, err)
	}
	if v, err := c.HMGet(ctx, "cities:a", "name", "x").Result(); err != nil || fmt.Sprint(v) != "[A <nil>]" {
		t.Error(v, err)
	}
	if v, err := c.TTL(ctx, "cities:a").Result(); err != nil || v != -1 {
		t.Error(v, err)
	}
	seen := make(map[string]bool)
	for it := c.Scan(ctx, 0, "cities:k*", 7).Iterator(); it.Next(ctx); {
		seen[it.Val()] = true
	}
	if len(seen) != 99 {
		t.Errorf("SCAN has %d keys", len(seen))
	}
	if v, err := c.Command(ctx).Result(); err != nil || v["mget"] == nil || v["mget"].LastKeyPos != -1 || !v["mget"].ReadOnly {
		t.Error(v["mget"], err)
	}
	if v, err := c.ClientGetName(ctx).Result(); err != nil || v != "go" {
		t.Error(v, err)
	}
	if err := c.Set(ctx, "cities:a", "1", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "READONLY ") {
		t.Error(err)
	}
	if err := c.Get(ctx, "towns:a").Err(); err == nil || !strings.HasPrefix(err.Error(), "NODATASET ") {
		t.Error(err)
	}
	replies, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for range 1000 {
			p.Get(ctx, "cities:a")
		}
		return nil
	})
	if err != nil || len(replies) != 1000 || replies[999].(*redis.StringCmd).Val() != `{"name":"A"}` {
		t.Error(len(replies), err)
	}
}

// Debian's python3-redis is for Debian's Python, which may not be the first in PATH.
func TestPythonClient(t *testing.T) {
	_, port := runResp(t, respConfig(t))
	const remedy = "apt-get install python3-redis"
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import redis").Run() == nil {
			if got := tool(t, remedy, python, "testdata/python.py", port, respPassword); got != "fine\n" {
				t.Error(got)
			}
			return
		}
	}
	t.Fatalf("this test needs a python3 with the module redis: %s", remedy)
}

func TestNodeClient(t *testing.T) {
	_, port := runResp(t, respConfig(t))
	modules, err := filepath.Abs("../../dist/node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "redis")); err != nil {
		t.Fatalf("this test needs npm's redis in dist/node: mkdir -p dist/node && cp scripts/tools/node/*.json dist/node && npm ci --prefix dist/node: %v", err)
	}
	t.Setenv("NODE_PATH", modules)
	if got := tool(t, "apt-get install nodejs npm", "node", "testdata/node/read.js", port, respPassword); got != "fine\n" {
		t.Error(got)
	}
}

// The metrics of Redis' protocol are among the server's.
func TestRespMetrics(t *testing.T) {
	s, port := runResp(t, respConfig(t))
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "AUTH wrong\r\nAUTH \""+respPassword+"\"\r\nGET cities:a\r\nGET towns:a\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(b), "+OK\r\n") {
		t.Fatalf("%q, %v", b, err)
	}
	res, err := http.Get("http://" + s.Addr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`freshet_resp_commands_total{command="get"} 2`, "freshet_resp_errors_total 2", "freshet_resp_wrong_passwords_total 1",
		"freshet_resp_connections_total 1", `freshet_resp_connections_cut_total{reason="idle"} 0`,
	} {
		if !strings.Contains(string(body), want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// Every wrong setting of Redis' protocol is refused with the name of its variable.
func TestRespSettings(t *testing.T) {
	for want, change := range map[string]func(*server.Config){
		"FRESHET_RESP_LISTEN is \"no port\"":                               func(c *server.Config) { c.RespListen = "no port" },
		"FRESHET_RESP_PASSWORD_FILE: open /nope":                           func(c *server.Config) { c.RespPasswordFile = "/nope" },
		"FRESHET_RESP_PASSWORD_FILE: /dev/null has no password":            func(c *server.Config) { c.RespPasswordFile = "/dev/null" },
		"FRESHET_RESP_PASSWORD_FILE is set and FRESHET_RESP_LISTEN is not": func(c *server.Config) { c.RespListen = "" },
		"FRESHET_RESP_CONNECTIONS":                                         func(c *server.Config) { c.RespConnections = 0 },
		"FRESHET_RESP_IDLE":                                                func(c *server.Config) { c.RespIdle = -1 },
		"FRESHET_RESP_OUTPUT_BYTES is 2.0 MiB: want at least 3":            func(c *server.Config) { c.RespOutputBytes = c.BatchBytes },
	} {
		cfg := respConfig(t)
		change(&cfg)
		_, err := server.New(cfg, server.Deps{Source: newSource("cities", "prices"), Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()})
		if !errors.Is(err, settings.ErrSettings) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A port that another program has is an error at start that names the setting.
func TestRespPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := respConfig(t)
	cfg.RespListen = ln.Addr().String()
	if err := newServerWith(t, cfg, newSource("cities", "prices")).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "set FRESHET_RESP_LISTEN to a free port") {
		t.Errorf("%v", err)
	}
}
