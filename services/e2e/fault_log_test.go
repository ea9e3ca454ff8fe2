package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Invariant: an event log that is deleted and made anew, empty, is filled again with the versions that there are, and no instance
// notices: what the new log counts anew means nothing to it.
func TestFaultStreamIsRecreatedEmpty(t *testing.T) {
	tr := newTrial(t, "stream deleted and recreated empty", setting{})
	tr.begin()
	began := time.Now()
	js := jetStream(t, tr.NATS.URL)
	stream, err := js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.FirstSeq = 0
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	tr.announced()
	tr.publish()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Blind, fleet.Overdue, fleet.Waiting)
}

// Invariant: event log and catalog lost at once are both made again from the store, without anybody publishing, restarting or asking
// for it.
func TestFaultStreamAndRedisAreWiped(t *testing.T) {
	tr := newTrial(t, "stream deleted and Redis wiped", setting{})
	tr.begin()
	began := time.Now()
	tr.wipe()
	tr.end()
	tr.announced()
	tr.indexed()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Blind, fleet.Overdue, fleet.Waiting)
}

// Invariant: the same while there is no publisher; the next one to start makes them again, and goes on with the number after the last.
func TestFaultStreamAndRedisAreWipedWithoutAPublisher(t *testing.T) {
	tr := newTrial(t, "publisher killed, stream deleted and Redis wiped", setting{})
	tr.begin()
	tr.Publisher.Kill()
	tr.wipe()
	tr.await("nobody vouches for anything", saying(fleet.Blind, tr.newest()))
	restarted := tr.instances[1]
	restarted.kill()
	restarted.start()
	tr.await("one was started again", serving(tr.newest()))
	tr.Publisher.Start()
	tr.end()
	tr.announced()
	tr.indexed()
	tr.healed()
}

// wipe deletes the event log and everything in Redis.
func (tr *trial) wipe() {
	tr.t.Helper()
	if err := jetStream(tr.t, tr.NATS.URL).DeleteStream(tr.t.Context(), streamName); err != nil {
		tr.t.Fatal(err)
	}
	tr.Redis.Wipe()
}

// announced waits until the event log has the newest version.
func (tr *trial) announced() {
	tr.t.Helper()
	js := jetStream(tr.t, tr.NATS.URL)
	eventually(tr.t, func(ctx context.Context) error {
		stream, err := js.Stream(ctx, streamName)
		if err != nil {
			return err
		}
		last, err := stream.GetLastMsgForSubject(ctx, dataset.SubjectRoot("")+"versions."+tr.name)
		if err != nil {
			return err
		}
		rec, err := dataset.DecodeEvent(last.Data)
		if err == nil && rec.Version != tr.newest() {
			err = fmt.Errorf("the event log ends at version %d, want %d", rec.Version, tr.newest())
		}
		return err
	})
}
