package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/exit"
)

// answerStatus adds an instance to the stack that answers surveys with the bytes.
func (f freshet) answerStatus(t *testing.T, answer []byte) {
	t.Helper()
	conn, err := nats.Connect(f.at.NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := conn.Subscribe("freshet.v1.instances.status", func(m *nats.Msg) { _ = m.Respond(answer) }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestAnUnreadableStatus has two healthy instances and one whose answer is not a status.
func TestAnUnreadableStatus(t *testing.T) {
	f := start(t, "prices")
	f.answerStatus(t, []byte("{"))
	f.run(t, "status").want(t, exit.Failure, "stdout:up-1", "stdout:up-2", "stderr:"+fleet.ErrUnreadable.Error())
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").
		want(t, exit.OK, "stderr:warning: cannot wait for an instance: "+fleet.ErrUnreadable.Error(),
			"stdout:every live instance whose status is readable (2) serves version 1")
	// No other instance has the dataset, and it is not known whether this one has it.
	f.run(t, "publish", "rules", file(t, "r.ndjson", oldPrices), "--key", "sku", "--wait").
		want(t, exit.TimedOut, "stderr:the status of 1 live instances cannot be read")
}

// TestStatusShowsWarnings has an instance that serves the dataset with a warning.
func TestStatusShowsWarnings(t *testing.T) {
	f := start(t, "prices")
	answer, err := json.Marshal(fleet.Status{Instance: "full", Datasets: []fleet.DatasetStatus{
		{Dataset: "prices", Version: 1, State: fleet.Fresh, Warning: "the cache folder is full"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.answerStatus(t, answer)
	f.run(t, "status", "--wide").want(t, exit.OK, "stdout:trouble", "stdout:the cache folder is full")
	f.run(t, "status").want(t, exit.OK, "stdout:\n  the cache folder is full\n")
}

// TestInterruptedDial interrupts a command while a server has accepted its connection and sends nothing.
func TestInterruptedDial(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan error, 1)
	go func() {
		conn, err := silent.Accept()
		cancel()
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // until the command hangs up
			err = errors.Join(err, conn.Close())
		}
		accepted <- err
	}()
	began := time.Now()
	run(ctx, nil, "", "status", "--nats", "nats://"+silent.Addr().String()).want(t, exit.Interrupted)
	if took := time.Since(began); took > natsTimeout/2 {
		t.Errorf("the interrupted command took %v", took)
	}
	<-accepted
}
