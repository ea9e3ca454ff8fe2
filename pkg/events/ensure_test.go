package events_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freshet.dev/pkg/events"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc/pool"
)

func TestEnsureCreatesTheStreamOnce(t *testing.T) {
	ctx, s, nc, _ := start(t)
	p := pool.New().WithErrors()
	for range 8 {
		log := newLog(t, connect(t, s.URL), events.Config{})
		p.Go(func() error { return log.Ensure(ctx) })
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	cfg := stream(t, ctx, nc).CachedInfo().Config
	got := jetstream.StreamConfig{
		Name: cfg.Name, Subjects: cfg.Subjects, Storage: cfg.Storage, Retention: cfg.Retention, Discard: cfg.Discard,
		MaxAge: cfg.MaxAge, MaxMsgs: cfg.MaxMsgs, MaxBytes: cfg.MaxBytes, MaxMsgsPerSubject: cfg.MaxMsgsPerSubject,
		Replicas: cfg.Replicas, Duplicates: cfg.Duplicates, AllowDirect: cfg.AllowDirect, Compression: cfg.Compression,
	}
	want := jetstream.StreamConfig{
		Name: "FRESHET", Subjects: []string{"freshet.v1.versions.>"}, Storage: jetstream.FileStorage,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: 10_000, Replicas: 1, Duplicates: 2 * time.Minute, AllowDirect: true,
		Compression: jetstream.S2Compression,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEnsureCorrectsRequiredSettings(t *testing.T) {
	ctx, _, nc, log := start(t)
	announceAfter := func(cfg jetstream.StreamConfig) jetstream.StreamConfig {
		t.Helper()
		cfg.Name, cfg.Subjects = "FRESHET", []string{"freshet.v1.versions.>", "also.this"}
		must(api(t, nc).CreateStream(ctx, cfg))(t)
		if err := log.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		return stream(t, ctx, nc).CachedInfo().Config
	}
	got := announceAfter(jetstream.StreamConfig{
		Description: "ours", MaxMsgsPerSubject: 7, Duplicates: 30 * time.Second, // harmless settings of an operator
		MaxAge: time.Hour, MaxMsgs: 5, MaxBytes: 1 << 20, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, NoAck: true,
	})
	if got.Description != "ours" || got.MaxMsgsPerSubject != 7 || got.Duplicates != 30*time.Second || len(got.Subjects) != 2 {
		t.Errorf("Ensure changed an operator's settings: %+v", got)
	}
	if got.MaxAge != 0 || got.MaxMsgs != -1 || got.MaxBytes != -1 || got.Discard != jetstream.DiscardOld || got.NoAck || !got.AllowDirect {
		t.Errorf("Ensure did not correct the settings that the log depends on: %+v", got)
	}
}

func TestEnsureRefusesUnsuitableStreams(t *testing.T) {
	ctx, _, nc, log := start(t)
	ours := []string{"freshet.v1.versions.>"}
	// While another stream exists, nats-server 2.15 does not remove the folder of all streams. It removes that after the answer to
	// DeleteStream, and a CreateStream at that moment fails.
	must(api(t, nc).CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}}))(t)
	for name, cfg := range map[string]jetstream.StreamConfig{
		"in memory":      {Name: "FRESHET", Subjects: ours, Storage: jetstream.MemoryStorage},
		"work queue":     {Name: "FRESHET", Subjects: ours, Retention: jetstream.WorkQueuePolicy},
		"other subjects": {Name: "FRESHET", Subjects: []string{"orders.>"}},
		"other name":     {Name: "ORDERS", Subjects: []string{"freshet.v1.>"}},
	} {
		t.Run(name, func(t *testing.T) {
			must(api(t, nc).CreateStream(ctx, cfg))(t)
			if err := log.Ensure(ctx); !errors.Is(err, events.ErrStream) {
				t.Errorf("Ensure: %v", err)
			}
			// Announce fails for a stream of that name on other subjects, and for one of another name on these subjects.
			if cfg.Name != "FRESHET" || cfg.Subjects[0] != ours[0] {
				if err := log.Announce(ctx, record("cities", 1)); err == nil {
					t.Error("Announce succeeds")
				}
			}
			if err := api(t, nc).DeleteStream(ctx, cfg.Name); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestEnsureRefusesReplicasThatHaveNoPlace(t *testing.T) {
	ctx, _, nc, log := start(t)
	if err := log.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	// A single server cannot hold three replicas.
	if err := newLog(t, nc, events.Config{Replicas: 3}).Ensure(ctx); !errors.Is(err, events.ErrStream) {
		t.Errorf("three replicas on one server: %v", err)
	}
}

func TestNothingBlocksLongerThanItsContext(t *testing.T) {
	ctx, s, nc, log := start(t)
	announce(t, ctx, log, "cities", 1)
	calls := map[string]func(context.Context) error{
		"Ensure":   log.Ensure,
		"Announce": func(ctx context.Context) error { return log.Announce(ctx, record("cities", 2)) },
		"Latest":   func(ctx context.Context) error { _, err := log.Latest(ctx, []string{"cities"}); return err },
		"History": func(ctx context.Context) error {
			for _, err := range log.History(ctx, "cities", 1) {
				return err
			}
			return nil
		},
	}
	check := func(state string) {
		t.Helper()
		for name, call := range calls {
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			began := time.Now()
			err := call(short)
			cancel()
			// Latest makes one attempt, which ends with the connection, before the deadline.
			if !errors.Is(err, context.DeadlineExceeded) && !(name == "Latest" && errors.Is(err, events.ErrNoAnswer)) {
				t.Errorf("%s: %s: %v", state, name, err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: %s took %v with a deadline of 100ms", state, name, took)
			}
		}
	}
	s.Pause()
	check("frozen")
	s.Kill()
	check("dead")
	nc.Close()
	for name, call := range calls {
		if err := call(ctx); err == nil {
			t.Errorf("closed: %s succeeds", name)
		}
	}
}
