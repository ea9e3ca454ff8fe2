package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// pinsTheCanary publishes a version beside a pinned instance, which then follows.
func (s *story) pinsTheCanary() {
	s.t.Helper()
	s.shows(0, []string{"pinned", "tier=canary"}, "pin", s.name, "--version", "5", "--label", "tier=canary", "--reason", "compare first", "--by", "ann@ops", "--wait")
	s.pinned[s.canary] = held{5, s.contents[2]}
	s.same()
	s.shows(0, []string{"canary-1", "it is pinned to version 5 (", "instance-1 serves version 6"}, s.input(s.name, 3, "--wait", "--by", "etl@db1", "--reason", "edition four")...)
	s.serve(6, s.contents[3])
	s.shows(0, []string{"canary-1", "pinned to version 5 by ann@ops until it is unpinned, newest known 6"}, "status", s.name, "--fail-if-stale")
	s.shows(0, []string{"pinned to version 5"}, "status", s.name, "--label", "tier=canary")

	// The pin outlives the instance.
	s.canary.Kill()
	s.canary.Start()
	s.same()

	s.freshet(0, "unpin", s.name, "--label", "tier=canary", "--reason", "they are the same", "--by", "ann@ops", "--wait")
	delete(s.pinned, s.canary)
	s.same()
	s.shows(0, []string{"no instance is pinned"}, "pins", s.name)
}

// replaysToTheCanary makes an instance pull its snapshot again, while it is asked for all of its records.
func (s *story) replaysToTheCanary() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	asked := make(chan error, 1)
	first := make(chan struct{})
	go func() { asked <- s.asks(ctx, s.canary, first) }()
	<-first
	out := s.freshet(0, "replay", s.name, "--full", "--instance", "canary-1", "--reason", "a stale view", "--by", "bob@ops", "--output", "json")
	cancel()
	if err := <-asked; err != nil {
		s.t.Errorf("a lookup beside the replay: %v", err)
	}
	outcomes := outcomesOf(s.t.Context(), strings.NewReader(out), nil)
	chain := s.versions(6)[0].Chain()
	var least int64
	for _, o := range chain {
		least += o.Bytes
	}
	if len(outcomes) != 1 || outcomes[0].Instance != "canary-1" || outcomes[0].State != fleet.ReplayDone || outcomes[0].Version != 6 || outcomes[0].PulledBytes < least {
		s.t.Errorf("the canary reports %+v, want that it has pulled the %d bytes of version 6", outcomes, least)
	}
	s.same()
}

// asks looks all records up again and again until ctx ends. It closes first after the first answer.
func (s *story) asks(ctx context.Context, instance *program, first chan struct{}) error {
	keys := slices.Collect(maps.Keys(s.content))
	for n := 0; ; n++ {
		for part := range slices.Chunk(keys, 500) {
			b, err := batchGet(ctx, instance, s.name, part)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil && (b.Version != s.version || len(b.Records) != len(part)) {
				err = fmt.Errorf("%d of %d records of version %d", len(b.Records), len(part), b.Version)
			}
			for i := 0; err == nil && i < len(b.Records); i++ {
				if r := b.Records[i]; !r.Found || string(r.Value) != s.content[part[i]] {
					err = fmt.Errorf("key %q has %s (%t), want %s", part[i], r.Value, r.Found, s.content[part[i]])
				}
			}
			if first != nil {
				close(first)
				first = nil
			}
			if err != nil {
				return err
			}
		}
	}
}

// outcomesOf returns the outcomes of instances in the lines of a replay, and calls each, if it is not nil, for each of them.
func outcomesOf(ctx context.Context, lines io.Reader, each func(fleet.ReplayOutcome)) (all []fleet.ReplayOutcome) {
	for d := json.NewDecoder(lines); ctx.Err() == nil; {
		var line struct{ Instance *fleet.ReplayOutcome }
		if d.Decode(&line) != nil {
			break
		}
		if line.Instance != nil {
			all = append(all, *line.Instance)
			if each != nil {
				each(*line.Instance)
			}
		}
	}
	return all
}

// replaysToASubject hands all versions to a new consumer.
func (s *story) replaysToASubject() {
	s.t.Helper()
	nc, err := nats.Connect(s.s.NATS.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("search.cities.history")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	records := s.versions(6)
	s.shows(0, []string{"6 events sent to search.cities.history, versions 1 to 6"}, "replay", s.name, "--to-subject", "search.cities.history", "--by", "bob@ops", "--reason", "a new search index")
	for _, want := range slices.Backward(records) {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			s.t.Fatal(err)
		}
		if rec, err := dataset.DecodeEvent(m.Data); err != nil || rec.Ref() != want.Ref() {
			s.t.Errorf("the consumer got version %s (%v), want %s", rec.Ref(), err, want.Ref())
		}
	}
	if m, err := sub.NextMsg(50 * time.Millisecond); err == nil {
		s.t.Errorf("the consumer got more than the %d versions: %s", len(records), m.Data)
	}
	s.same()
}
