package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/servertest"
)

// refused is how often each way of sending is refused. Every refusal must reach the client.
const refused = 10

// answer is the output of curl for one answer.
type answer struct {
	status int
	kind   string // of the problem document
	line   int
	err    error
}

// curl sends a request with a body and returns the output of curl.
func curl(ctx context.Context, args ...string) (a answer) {
	cmd := exec.CommandContext(ctx, "curl", append([]string{"-sS", "-w", "\n%{http_code} %{content_type}"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		a.err = fmt.Errorf("%w: %s", err, errs.String())
		return a
	}
	body, last, _ := strings.Cut(out.String(), "\n")
	code, kind, _ := strings.Cut(last, " ")
	if a.status, a.err = strconv.Atoi(code); a.err != nil {
		return a
	}
	var doc struct {
		Type string
		Line int
	}
	if a.err = json.Unmarshal([]byte(body), &doc); a.err == nil && kind != "application/problem+json" {
		a.err = fmt.Errorf("the answer is %s", kind)
	}
	a.kind, a.line = strings.TrimPrefix(doc.Type, "https://freshet.dev/problems/"), doc.Line
	return a
}

// wrongCSV writes a CSV file of the given size with an error on line 2.
func wrongCSV(t *testing.T, bytes int) string {
	t.Helper()
	row := "000000000,the quick brown fox jumps over the lazy dog,1234567\n"
	path := filepath.Join(t.TempDir(), "wrong.csv")
	text := "key,name,count\na,one field too many,1,2\n" + strings.Repeat(row, bytes/len(row)+1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// publisherAlone starts a publisher with a dataset called prices.
func publisherAlone(t *testing.T, settings ...string) *program {
	t.Helper()
	p := start(t, "publisher", append([]string{
		"NATS_URL=" + servertest.NATS(t).URL, "STORE_URL=dir://" + t.TempDir(), "TEMP_DIR=" + t.TempDir(),
	}, settings...)...)
	status, _, body, err := do(t.Context(), http.MethodPost, p.URL+"/v1/datasets/prices/versions?key=key", "text/csv", []byte("key,name,count\na,b,1\n"))
	if err != nil || status != http.StatusCreated {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	return p
}

// A refusal reaches a client that is still sending, whatever its speed and however it frames the body.
func TestRefusalsReachCurl(t *testing.T) {
	size, seconds := 26<<20, 3
	if testing.Short() {
		size, seconds = 4<<20, 2
	}
	csv := wrongCSV(t, size)
	rate := strconv.Itoa(size / seconds)
	p := publisherAlone(t, "BODY_BYTES=64MiB", "PUBLISHES="+strconv.Itoa(refused), "PATCHES="+strconv.Itoa(refused))
	for name, args := range map[string][]string{
		"slow":                        {"--limit-rate", rate},
		"slow, 100-continue":          {"--limit-rate", rate, "-H", "Expect: 100-continue"},
		"slow, chunked":               {"--limit-rate", rate, "-H", "Transfer-Encoding: chunked"},
		"full speed":                  {"-H", "Expect:"},
		"full speed, 100-continue":    {"-H", "Expect: 100-continue"},
		"full speed, chunked":         {"-H", "Transfer-Encoding: chunked"},
		"full speed, chunked, Expect": {"-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"},
	} {
		for _, to := range []struct{ method, path string }{
			{http.MethodPost, "/v1/datasets/prices/versions?key=key"}, {http.MethodPatch, "/v1/datasets/prices?key=key"},
		} {
			args := append([]string{"-X", to.method, "-T", csv, "-H", "Content-Type: text/csv", p.URL + to.path}, args...)
			wantAnswers(t, name+", "+to.method, answer{status: http.StatusBadRequest, kind: "bad-input", line: 2}, args)
		}
	}
}

// wantAnswers runs several curls at a time, each of which must get the same answer.
func wantAnswers(t *testing.T, what string, want answer, args []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	answers := make(chan answer)
	for range refused {
		go func() { answers <- curl(ctx, args...) }()
	}
	for range refused {
		if got := <-answers; got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
}

// So does one that is decided before the body is read: too large, of a wrong type, for no turn, to a wrong path.
func TestEarlyRefusalsReachCurl(t *testing.T) {
	csv := wrongCSV(t, 8<<20)
	p := publisherAlone(t, "BODY_BYTES=1MiB", "PUBLISHES=1")
	// A client that sends a part of its body and then waits has the only turn.
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	holding := make(chan struct{})
	go func() {
		defer close(holding)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/v1/datasets/other/versions?key=key", r)
		if err != nil {
			return
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	if _, err := io.WriteString(w, `{"key":"a"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	const publish = "/v1/datasets/prices/versions?key=key"
	eventually(t, func(ctx context.Context) error {
		a := curl(ctx, "-X", "POST", "-d", `{"key":"a"}`, "-H", "Content-Type: application/json", p.URL+publish)
		if a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("the turn is free: %+v", a)
		}
		return nil
	})
	for name, c := range map[string]struct {
		want answer
		args []string
	}{
		"busy":         {answer{status: 503, kind: "busy"}, []string{"-X", "POST", "-H", "Content-Type: text/csv", "-H", "Transfer-Encoding: chunked", p.URL + publish}},
		"too large":    {answer{status: 413, kind: "too-large"}, []string{"-X", "PATCH", "-H", "Content-Type: text/csv", p.URL + "/v1/datasets/prices?key=key"}},
		"wrong type":   {answer{status: 415, kind: "unsupported-type"}, []string{"-X", "POST", "-H", "Content-Type: text/html", p.URL + publish}},
		"wrong path":   {answer{status: 404, kind: "no-such-route"}, []string{"-X", "POST", p.URL + "/v1/nothing"}},
		"wrong method": {answer{status: 405, kind: "method-not-allowed"}, []string{"-X", "PUT", p.URL + "/v1/datasets"}},
	} {
		for _, speed := range [][]string{{"--limit-rate", "4M"}, {"-H", "Expect:"}, {"-H", "Expect: 100-continue"}} {
			args := append(append([]string{"-T", csv}, c.args...), speed...)
			wantAnswers(t, name+" "+strings.Join(speed, " "), c.want, args)
		}
	}
	cancel()
	w.Close() // for the transport, which waits for the Read of the body
	<-holding
}

// throttled is a file whose reads are limited to a number of bytes a second.
type throttled struct {
	file io.Reader
	tick *time.Ticker
	part int
}

func (r throttled) Read(p []byte) (int, error) {
	<-r.tick.C
	return r.file.Read(p[:min(len(p), r.part)])
}

// The command exits with 3 for a refusal, whether it sends a file or what a slow pipe brings.
func TestRefusalsReachTheCommand(t *testing.T) {
	size, seconds := 26<<20, 3
	if testing.Short() {
		size, seconds = 4<<20, 2
	}
	csv := wrongCSV(t, size)
	p := publisherAlone(t, "PUBLISHES="+strconv.Itoa(refused), "PATCHES="+strconv.Itoa(refused))
	for _, slow := range []bool{false, true} {
		for _, patch := range []string{"--patch=false", "--patch"} {
			done := make(chan error)
			for range refused {
				go func() { done <- refusedCommand(t.Context(), p, csv, slow, size/seconds, patch) }()
			}
			for range refused {
				if err := <-done; err != nil {
					t.Errorf("slow %v, %s: %v", slow, patch, err)
				}
			}
		}
	}
}

// refusedCommand runs the command and returns an error unless it is refused as expected.
func refusedCommand(ctx context.Context, p *program, csv string, slow bool, rate int, patch string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	args := []string{"publish", "prices", csv, "--format", "csv", patch}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "freshet"), args...)
	cmd.Env = append(cmd.Environ(), "FRESHET_PUBLISHER_URL="+p.URL)
	if slow {
		cmd.Args[3] = "-"
		file, err := os.Open(csv)
		if err != nil {
			return err
		}
		defer file.Close()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		cmd.Stdin = throttled{file, tick, rate / 20}
	}
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(string(out), "line 2") {
		return fmt.Errorf("exit code %d (%w): %s", code, err, out)
	}
	return nil
}
