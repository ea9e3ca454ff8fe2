// Package webtest tests a service's handler with clients that send incomplete requests. Only tests import it.
package webtest

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet.dev/services/internal/web"
)

// limit is how long each step of a test may take.
const limit = time.Minute

// Refused serves h and sends the requests, whose bodies are incomplete. Each client must get a problem document of the wanted
// status. The server must then stop although the clients send nothing, and close each connection without a reset.
func Refused(t *testing.T, h http.Handler, requests map[string]int) {
	t.Helper()
	srv := web.NewServer(web.ServerConfig{Listen: "127.0.0.1:0", Grace: time.Hour, Log: slog.New(slog.DiscardHandler)}, h)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	answers := make(map[string]*bufio.Reader)
	for request, status := range requests {
		conn, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Errorf("%q: %v", request, err)
		}
		answer := bufio.NewReader(conn)
		res, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Errorf("%q: no answer: %v", request, err)
			continue
		}
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status || res.Header.Get("Content-Type") != web.ProblemType || !strings.HasSuffix(strings.TrimSpace(string(text)), "}") {
			t.Errorf("%q: %d %s, %v; want %d", request, res.StatusCode, text, err, status)
		}
		answers[request] = answer
	}
	stop()
	for request, answer := range answers {
		if _, err := answer.ReadByte(); err != io.EOF {
			t.Errorf("%q: after the answer: %v, want the end of the connection", request, err)
		}
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Error("the server does not stop")
	}
}
