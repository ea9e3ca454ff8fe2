package subscribe_test

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// lossy is a proxy between a client and a NATS server that drops the messages to the client for whose subject lose returns true.
func lossy(t *testing.T, target string, lose func(subject string) bool) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex // guards open
	var open []net.Conn
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(target, "nats://"))
			if err != nil {
				client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, server)
			mu.Unlock()
			running.Go(func() { io.Copy(server, client); server.Close() })
			running.Go(func() { thin(client, bufio.NewReader(server), lose); client.Close() })
		}
	})
	return "nats://" + l.Addr().String()
}

// thin copies a NATS server's output without the dropped messages. The protocol is in
// https://docs.nats.io/reference/reference-protocols/nats-protocol.
func thin(dst io.Writer, src *bufio.Reader, lose func(subject string) bool) {
	for {
		line, err := src.ReadString('\n')
		if err != nil {
			return
		}
		frame := []byte(line)
		subject := ""
		if words := strings.Fields(line); len(words) > 3 && (words[0] == "MSG" || words[0] == "HMSG") {
			size, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return
			}
			body := make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(src, body); err != nil {
				return
			}
			subject, frame = words[1], append(frame, body...)
		}
		if subject != "" && lose(subject) {
			continue
		}
		if _, err := dst.Write(frame); err != nil {
			return
		}
	}
}
