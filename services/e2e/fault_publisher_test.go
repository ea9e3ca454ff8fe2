package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
)

// Invariant: between whichever two steps a publisher dies, what it had committed is announced, indexed and served when there is a
// publisher again, without anybody publishing anew, and what it had not committed leaves nothing; no version number is lost or
// given twice. While there is none, instances serve what they have, and say that they are blind.
func TestFaultPublisherIsKilledBetweenSteps(t *testing.T) {
	for _, at := range []struct {
		act, point string
		committed  bool // the version exists
		announced  bool // instances were told of it
	}{
		{"publish", "bodyRead", false, false},
		{"publish", "snapshotStored", false, false},
		{"publish", "deltaStored", false, false},
		{"publish", "committed", true, false},
		{"publish", "announced", true, true},
		{"publish", "indexed", true, true},
		{"patch", "patchRead", false, false},
		{"patch", "patchDeltaStored", false, false},
		{"patch", "committed", true, false},
		{"patch", "announced", true, true},
	} {
		t.Run(at.act+"/"+at.point, func(t *testing.T) {
			tr := newTrial(t, "publisher killed in a "+at.act+" at "+at.point, setting{failing: true, publisher: []string{"MAX_DELTAS=1", "COMPACT_EVERY=1h"}})
			there := tr.killAt(at.act, at.point)
			if there != at.committed {
				t.Errorf("the version is committed: %t, want %t", there, at.committed)
			}
			tr.healed()
		})
	}
}

// killAt runs a publish or patch until the publisher is blocked at the failpoint, kills the publisher there, checks the instances and
// restarts the publisher. It reports whether the version exists.
func (tr *trial) killAt(act, point string) (committed bool) {
	tr.t.Helper()
	tr.points.arm(tr.t, point, stand)
	for {
		method, path := http.MethodPatch, ""
		text, next := tr.change(8)
		if act == "publish" {
			method, path, text = http.MethodPost, "/versions", lines(next)
		}
		pending := tr.uncertain(method, path, text, next)
		if !tr.standsOrAnswers(point, pending) {
			continue // this one had no such step
		}
		served := tr.newest()
		announced := point == "announced" || point == "indexed"
		if announced {
			served++
		}
		tr.begin()
		began := time.Now()
		tr.Publisher.Kill()
		tr.await("the publisher is dead", saying(fleet.Blind, served))
		tr.never(began.Add(blindAfter+late), fleet.Fresh)
		tr.Publisher.Start()
		tr.end()
		return pending.settle()
	}
}

// pending is a publish without an answer yet.
type pending struct {
	tr       *trial
	answered chan error
	next     map[string]string
}

// uncertain publishes and does not wait for the answer.
func (tr *trial) uncertain(method, path, text string, next map[string]string) *pending {
	p := &pending{tr: tr, answered: make(chan error, 1), next: next}
	go func() {
		_, err := tr.send(tr.t.Context(), method, path, text)
		p.answered <- err
	}()
	return p
}

// standsOrAnswers waits until the publisher is blocked at the failpoint or has answered. In the second case it did not reach the
// failpoint.
func (tr *trial) standsOrAnswers(point string, p *pending) (stands bool) {
	tr.t.Helper()
	eventually(tr.t, func(ctx context.Context) error {
		select {
		case err := <-p.answered:
			if err != nil {
				tr.t.Fatalf("publish: %v", err)
			}
			tr.history = append(tr.history, p.next)
			tr.known()
			return nil
		default:
		}
		n, err := tr.points.hits(ctx, point)
		if err == nil && n == 0 {
			err = fmt.Errorf("the publisher does not come to the failpoint %s, and does not answer", point)
		}
		stands = err == nil
		return err
	})
	return stands
}

// settle checks in the store, after a restart of the killed publisher, whether the version exists.
func (p *pending) settle() (committed bool) {
	p.tr.t.Helper()
	if err := <-p.answered; err == nil {
		p.tr.t.Error("the publisher was killed, and has answered")
	}
	if p.tr.stored()[0].Version == p.tr.newest()+1 {
		p.tr.history = append(p.tr.history, p.next)
		p.tr.known()
		committed = true
	}
	return committed
}

// Invariant: a publisher that dies in a compaction leaves every version as it was, and the next one writes the snapshot.
func TestFaultPublisherIsKilledWhileCompacting(t *testing.T) {
	for _, point := range []string{"snapshotMerged", "snapshotWritten"} {
		t.Run(point, func(t *testing.T) {
			tr := newTrial(t, "publisher killed in a compaction at "+point, setting{failing: true, publisher: []string{"MAX_DELTAS=6", "COMPACT_EVERY=1s"}})
			tr.points.arm(t, point, stand)
			for range 5 {
				tr.publish()
			}
			tr.points.stands(t, point)
			tr.await("the compaction stands", fresh(tr.newest()))
			tr.begin()
			tr.Publisher.Kill()
			tr.await("the publisher is dead", saying(fleet.Blind, tr.newest()))
			tr.Publisher.Start()
			tr.end()
			tr.healed()
			killed := tr.newest()
			eventually(t, func(context.Context) error {
				if rec := tr.publish(); rec.Snapshot.Version < killed {
					return fmt.Errorf("the snapshot of version %d is that of %d", rec.Version, rec.Snapshot.Version)
				}
				return nil
			})
		})
	}
}
