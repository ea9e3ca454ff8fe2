package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"freshet.dev/services/freshet/internal/exit"
)

// upOnFreePorts are arguments of `freshet up` that do not collide with anything.
func upOnFreePorts(dir string, more ...string) []string {
	args := []string{"up", "prices", "--dir", dir}
	for _, part := range []string{"nats", "redis", "publisher", "relay", "server"} {
		if flag := "--" + part + "-port"; !slices.Contains(more, flag) {
			args = append(args, flag, "0")
		}
	}
	return append(args, more...)
}

// TestUp runs what `freshet up` prints, and ends it well.
func TestUp(t *testing.T) {
	t.Setenv("FRESHET_RESP_LISTEN", "127.0.0.1:0")
	t.Run("default namespace", func(t *testing.T) { tryUp(t, nil, map[string]string{"FRESHET_NAMESPACE": "try"}) })
	t.Run("another", func(t *testing.T) { tryUp(t, map[string]string{"FRESHET_NAMESPACE": "try"}, nil) })
}

// tryUp runs `freshet up` with an environment, and takes for granted that nothing in the other one sees its instances.
func tryUp(t *testing.T, env, other map[string]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, writer := io.Pipe()
	ended := make(chan result, 1)
	go func() {
		var errs strings.Builder
		code := Run(ctx, Process{
			In: strings.NewReader(""), Out: writer, Err: &errs, Command: "freshet",
			LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		}, upOnFreePorts(t.TempDir(), "--instances", "2"))
		writer.Close()
		ended <- result{code: code, err: errs.String()}
	}()
	urls := map[string]string{}
	var suggested, resp []string
	for lines := bufio.NewScanner(reader); lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C"); {
		if f := strings.Fields(lines.Text()); len(f) >= 2 {
			urls[f[0]] = f[1]
			if address, ok := strings.CutPrefix(f[0], "redis://"); ok {
				resp = append(resp, address)
			}
		}
		if _, command, ok := strings.Cut(lines.Text(), ": "); ok {
			suggested = append(suggested, command)
		}
	}
	if len(suggested) != 3 {
		t.Fatalf("suggests %q", suggested)
	}
	for i, input := range []string{oldPrices, `{"sku":"B2","$remove":true}`} { // all records, then a patch
		args := strings.Fields(strings.Replace(suggested[i], "FILE", file(t, "p.ndjson", input), 1))
		if len(args) < 2 || args[0] != "freshet" {
			t.Fatalf("suggests %q", suggested[i])
		}
		run(t.Context(), nil, "", append(args[1:], "--key", "sku")...).
			want(t, exit.OK, fmt.Sprintf("every live instance (2) serves version %d", i+1))
	}
	for _, instance := range []string{"up-1", "up-2"} {
		run(t.Context(), nil, "", "get", "prices", "A1", "--server", urls[instance]).want(t, exit.OK, `{"sku":"A1","price":5}`)
		run(t.Context(), nil, "", "get", "prices", "B2", "--server", urls[instance]).want(t, exit.NotFound)
	}
	if len(resp) != 2 {
		t.Errorf("prints the addresses %q for Redis' protocol, want one of each instance", resp)
	}
	for _, address := range resp {
		if got := strlen(t, address, "prices:A1"); got != ":22\r\n" {
			t.Errorf("STRLEN answers %q on %s", got, address)
		}
	}
	at := []string{"status", "--publisher", urls["publisher"], "--nats", urls["NATS"], "--redis", urls["Redis"]}
	run(t.Context(), env, "", at...).want(t, exit.OK, "up-1", "up-2")
	run(t.Context(), other, "", at...).want(t, exit.OK, "!up-1", "!up-2")
	where := ""
	if other["FRESHET_NAMESPACE"] != "" {
		where = " in namespace " + other["FRESHET_NAMESPACE"]
	}
	run(t.Context(), other, "", append(at, "--fail-if-stale")...).want(t, exit.Stale, "stderr:stale: there is no instance"+where+"\n")
	again := []string{"publish", "prices", file(t, "p.ndjson", `{"sku":"A1","price":5}`), "--key", "sku", "--wait"}
	run(t.Context(), other, "", append(again, at[1:5]...)...).want(t, exit.NoInstance, "no live instance"+where+" has the dataset prices")
	cancel()
	if _, err := io.Copy(io.Discard, reader); err != nil {
		t.Error(err)
	}
	r := <-ended
	r.want(t, exit.OK)
	if r.err != "" {
		t.Errorf("stderr says %s", r.err)
	}
}

// strlen returns the reply to STRLEN in Redis' protocol.
func strlen(t *testing.T, address, key string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "STRLEN %s\r\n", key); err != nil {
		t.Fatal(err)
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestUpCannotStart(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	run(t.Context(), nil, "", upOnFreePorts(t.TempDir(), "--relay-port", port)...).
		want(t, exit.Failure, "stderr:cannot start the relay on 127.0.0.1:"+port, "stderr:--relay-port")

	t.Run("Redis' protocol", func(t *testing.T) {
		t.Setenv("FRESHET_RESP_LISTEN", port)
		run(t.Context(), nil, "", upOnFreePorts(t.TempDir())...).
			want(t, exit.Failure, "stderr:set FRESHET_RESP_LISTEN to a free port", "stderr:"+port, "!--server-port")
	})

	notAFolder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notAFolder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t.Context(), nil, "", upOnFreePorts(filepath.Join(notAFolder, "data"))...).want(t, exit.Failure, "stderr:"+notAFolder, "stderr:--dir")

	t.Setenv("FRESHET_BODY_BYTES", "many")
	run(t.Context(), nil, "", upOnFreePorts(t.TempDir())...).want(t, exit.Usage, "stderr:FRESHET_BODY_BYTES")
}
