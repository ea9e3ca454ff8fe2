package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"freshet.dev/pkg/fleet"
)

// newTroubled returns an operator of two instances of which the second has a proxy before its relay. Version 3 is the newest.
func newTroubled(t *testing.T) (*story, *proxy) {
	t.Helper()
	s := &story{operator: &operator{t: t, name: "cities", store: t.TempDir(), pinned: map[*program]held{}}, all: shipped(t)[:4]}
	s.s = newSystem(t, "dir://"+s.store, 1, s.name)
	line := newProxy(t, s.s.Relay.URL)
	s.canary = start(t, "server", "NATS_URL="+s.s.NATS.URL, "RELAYS="+line.URL, "DATASETS="+s.name, "CACHE_DIR="+t.TempDir(), "INSTANCE=canary-1", "LABELS=tier=canary")
	s.s.Instances = append(s.s.Instances, s.canary)
	for i, e := range s.all {
		s.contents = append(s.contents, e.records(t))
		if i < 3 {
			s.freshet(0, s.input(s.name, i, "--wait")...)
			s.serve(uint64(i+1), s.contents[i])
		}
	}
	return s, line
}

// Invariant: a replay that an instance does not finish, because it hangs or dies, says which and exits with 6. The others have done it, and do
// not do it again when the command is repeated.
func TestReplayIsHalfDone(t *testing.T) {
	for name, trouble := range map[string]struct {
		begin, end func(*program)
	}{
		"killed":  {(*program).Kill, (*program).Start},
		"stopped": {(*program).Pause, (*program).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			s, line := newTroubled(t)
			line.part() // the snapshot does not come
			done, command, err := s.replaying("replay", s.name, "--full", "--all", "--reason", "a stale view", "--request-id", "r-1", "--output", "json")
			if got := <-done; got.Instance != "instance-1" || got.State != fleet.ReplayDone {
				t.Errorf("the first outcome is %+v, want that instance-1 has done it", got)
			}
			trouble.begin(s.canary)
			checkAll(t, s.s.Instances[0], s.name, 3, s.contents[2], s.contents[1])
			for range done {
			}
			if code := exitCode(<-command); code != 6 || !strings.Contains(err.String(), "1 of 2 did not: canary-1 (silent: ") || !strings.Contains(err.String(), "--request-id r-1") {
				t.Errorf("the replay ended with %d: %s", code, err)
			}
			line.heal()
			trouble.end(s.canary)
			s.same()
			eventually(t, func(context.Context) error { // it may still be pulling again
				var out, errs strings.Builder
				if s.command(t.Context(), &out, &errs, "replay", s.name, "--full", "--all", "--reason", "a stale view", "--request-id", "r-1").Run() != nil {
					return errors.New(errs.String())
				}
				if !strings.Contains(out.String(), "an earlier request with this id did it") {
					t.Errorf("the repeated replay says %s", out.String())
				}
				return nil
			})
			s.same()
			s.tells(s.name, [][]string{{"replay", "all instances", "full", "a stale view"}})
		})
	}
}

// replaying runs the command, sends the outcomes to done and then the end of the command. errs is valid after the end.
func (o *operator) replaying(args ...string) (done chan fleet.ReplayOutcome, ended chan error, errs *strings.Builder) {
	done, ended, errs = make(chan fleet.ReplayOutcome, 8), make(chan error, 1), &strings.Builder{}
	r, w := io.Pipe()
	command := o.command(o.t.Context(), w, errs, args...)
	go func() {
		err := command.Run()
		w.Close()
		ended <- err
	}()
	go func() {
		defer close(done)
		outcomesOf(o.t.Context(), r, func(i fleet.ReplayOutcome) { done <- i })
		_, _ = io.Copy(io.Discard, r)
	}()
	return done, ended, errs
}

// Invariant: what an operator does while NATS is down is in the store, and the message says what was not announced. When NATS is back, the
// instances follow.
func TestOperatorWithoutNATS(t *testing.T) {
	s, _ := newTroubled(t)
	without := func(texts []string, args ...string) {
		t.Helper()
		s.s.NATS.Kill()
		s.shows(0, texts, args...)
		s.same()
	}
	without([]string{"it is not known whether an instance matches (instances with tier=canary)", "the change is in the store, as journal entry", "it was not announced"},
		"pin", s.name, "--version", "3", "--label", "tier=canary", "--reason", "compare first", "--by", "ann@ops")
	s.shows(0, []string{"compare first"}, "pins", s.name)
	without([]string{"version 4", "not announced"}, "rollback", s.name, "--to", "1", "--reason", "wrong names", "--by", "ann@ops")
	s.s.NATS.Start()
	s.pinned[s.canary] = held{3, s.contents[2]}
	s.serve(4, s.contents[0])
	s.says(s.canary, "pinned", 3)
	s.same()

	without([]string{"it was not announced"}, "unpin", s.name, "--all", "--reason", "they are right", "--by", "ann@ops")
	s.shows(1, []string{"not connected to NATS; nothing was published", "--force"}, "delete", s.name, "--reason", "the shop has closed", "--yes")
	without([]string{"version 5: deleted", "not announced"}, "delete", s.name, "--reason", "the shop has closed", "--yes", "--force", "--by", "ann@ops")
	s.shows(1, []string{"NATS"}, "replay", s.name, "--all")
	s.s.NATS.Start()
	delete(s.pinned, s.canary)
	for _, instance := range s.s.Instances {
		s.says(instance, "deleted", 5)
		checkAll(t, instance, s.name, 4, s.contents[0], s.contents[2])
	}
	s.tells(s.name, [][]string{
		{"pin", "ann@ops", "compare first"},
		{"ann@ops", "the content of version 1", "wrong names"},
		{"unpin", "ann@ops", "they are right"},
		{"ann@ops", "the dataset is deleted", "the shop has closed"},
	})
}

// says waits until the instance reports the version and the state.
func (o *operator) says(instance *program, state string, version uint64) {
	o.t.Helper()
	eventually(o.t, func(ctx context.Context) error {
		all, err := datasets(ctx, instance)
		if d := all[o.name]; err == nil && (d.State != state || d.Version != version) {
			err = fmt.Errorf("%s says %s and version %d, want %s and %d", instance.URL, d.State, d.Version, state, version)
		}
		return err
	})
}
