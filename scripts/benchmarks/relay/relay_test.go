package relay

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storeurl"
)

// TestSwarm pulls a small object from each handler, once by each client, and then repeatedly for a moment.
func TestSwarm(t *testing.T) {
	obj, err := makeObject(t.Context(), t.TempDir(), 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, handler := range []string{wholeFile, sendfile} {
		addr, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- serve(ctx, handler, addr, obj.file(), 2) }()
		pulls := swarm{Addr: addr, Path: "/", Bytes: obj.bytes, Clients: 5}
		var h haul
		for deadline := time.Now().Add(10 * time.Second); ; {
			if h, err = pulls.run(ctx); err == nil || time.Now().After(deadline) {
				break // it may not listen at once
			}
		}
		if err != nil || h.Whole != 5 || h.Bytes != 5*obj.bytes {
			t.Errorf("%s: %+v, %v", handler, h, err)
		}
		for pulls.Window = 100 * time.Millisecond; ; pulls.Window *= 4 { // a busy machine may transfer nothing in a short window
			if h, err = pulls.run(ctx); err != nil || h.Bytes > 0 || pulls.Window > 20*time.Second {
				break
			}
		}
		if err != nil || h.Bytes == 0 || h.perSecond() <= 0 {
			t.Errorf("%s, window: %+v, %v", handler, h, err)
		}
		pulls.Bytes++
		if _, err = pulls.run(ctx); err == nil {
			t.Errorf("%s: an answer of another length is accepted", handler)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestStorm publishes a small dataset as the storm does. An instance fails without a relay.
func TestStorm(t *testing.T) {
	broker := servertest.NATS(t)
	dir := t.TempDir()
	rec, err := publishStorm(t.Context(), dir, broker.URL, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Version != 1 || rec.State.Records < 2000 || rec.State.Records > 2500 || rec.Snapshot.Bytes < 600_000 {
		t.Errorf("%+v", rec)
	}
	st, err := storeurl.Open(t.Context(), "dir://"+dir+"/store")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if n, err := st.StatObject(t.Context(), rec.Snapshot.Digest); err != nil || n != rec.Snapshot.Bytes {
		t.Errorf("%d bytes, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s := storm{NATS: broker.URL, Relay: "http://127.0.0.1:1", Instances: 2, Version: 1, State: rec.State, Start: time.Now()}
	if _, err := s.run(ctx); err == nil || !strings.Contains(err.Error(), "instance ") {
		t.Errorf("error is %v", err)
	}
}

func TestPrint(t *testing.T) {
	r := result{object: object{bytes: 256 << 20}, budget: 512 << 20, rounds: 3, rows: []row{{clients: 1, cold: haul{1, 1, 1}, relay: 2e9, nginx: 1e9, sendfile: 1e9}}}
	var out bytes.Buffer
	if err := r.print(&out); err != nil || !strings.Contains(out.String(), "2.00") {
		t.Errorf("%v: %s", err, out.String())
	}
	for _, bad := range []string{"", "256", "x/1", "0/1", "256/y"} {
		if _, _, err := parsePair(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if err := Main(t.Context(), []string{"-part", "no such part", "-addr", "127.0.0.1:0"}, io.Discard); err == nil {
		t.Error("an unknown part is accepted")
	}
}
