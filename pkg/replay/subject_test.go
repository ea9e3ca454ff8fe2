package replay_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/replay"
)

// to returns a replay to the subject prices.history, with the changes.
func to(change func(*replay.SubjectInput)) replay.SubjectInput {
	i := replay.SubjectInput{Dataset: "prices", Subject: "prices.history", Rate: replay.MaxRate, Audit: byAnn}
	if change != nil {
		change(&i)
	}
	return i
}

// consumer subscribes to the subject.
func (w *world) consumer() *nats.Subscription {
	w.t.Helper()
	nc := w.connect()
	sub, err := nc.SubscribeSync("prices.history")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return sub
}

// versions returns the versions of n messages, each of which must be the event that announced it.
func (w *world) versions(sub *nats.Subscription, n int) (all []uint64) {
	w.t.Helper()
	for range n {
		m, err := sub.NextMsgWithContext(w.ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		rec, err := dataset.DecodeEvent(m.Data)
		if err != nil || rec.Ref() != w.refs[rec.Version] || m.Header.Get(events.ReplayHeader) != "r-1" || m.Header.Get(nats.MsgIdHdr) != "r-1/"+rec.ID() {
			w.t.Errorf("%+v, %v, %v", rec, m.Header, err)
		}
		all = append(all, rec.Version)
	}
	if extra, _, err := sub.Pending(); extra > 0 || err != nil {
		w.t.Errorf("%d messages more, %v", extra, err)
	}
	return all
}

// The events of a range arrive in order, at the rate, with the header of a replay; the store alone has them. It may be repeated.
func TestSubject(t *testing.T) {
	w := newWorld(t)
	sub := w.consumer()
	var begun replay.Begun
	var confirmed []replay.Sent
	sent, err := w.replayer.Subject(w.ctx, to(func(i *replay.SubjectInput) {
		i.Begun = func(b replay.Begun) { begun = b }
		i.Confirmed = func(s replay.Sent) { confirmed = append(confirmed, s) }
	}))
	if want := (replay.Sent{Events: 5, First: 1, Last: 5}); err != nil || sent != want || len(confirmed) == 0 || confirmed[len(confirmed)-1] != want {
		t.Fatalf("%+v, %v, %v", sent, err, confirmed)
	}
	if diff := cmp.Diff([]uint64{1, 2, 3, 4, 5}, w.versions(sub, 5)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(replay.Begun{RequestID: "r-1", Entry: 1, First: 1, Last: 5, Versions: 5}, begun); diff != "" {
		t.Error(diff)
	}
	began := time.Now()
	if _, err := w.replayer.Subject(w.ctx, to(func(i *replay.SubjectInput) { i.Rate = 20 })); err != nil || time.Since(began) < 4*time.Second/20 {
		t.Errorf("5 events at 20 a second took %v, %v", time.Since(began), err)
	}
	w.versions(sub, 5)
	for name, c := range map[string]struct {
		change func(*replay.SubjectInput)
		want   []uint64
	}{
		"a range":    {func(i *replay.SubjectInput) { i.From, i.To = 2, 4 }, []uint64{2, 3, 4}},
		"one":        {func(i *replay.SubjectInput) { i.From, i.To = 3, 3 }, []uint64{3}},
		"since":      {func(i *replay.SubjectInput) { i.Since = noon.Add(4 * time.Minute) }, []uint64{4, 5}},
		"since last": {func(i *replay.SubjectInput) { i.Since = noon.Add(time.Hour) }, nil},
	} {
		i := to(c.change)
		i.DryRun = true
		if sent, err := w.replayer.Subject(w.ctx, i); err != nil || sent.Events != 0 {
			t.Errorf("%s: a dry run: %+v, %v", name, sent, err)
		}
		i.DryRun, i.Dataset = false, "prices"
		i.RequestID = "r-1"
		i.Subject = "prices.history"
		if _, err := w.replayer.Subject(w.ctx, i); !errors.Is(err, replay.ErrRequestID) {
			t.Errorf("%s: with the id of the first: %v", name, err)
		}
		i.RequestID = "r-" + strings.ReplaceAll(name, " ", "-")
		sent, err := w.replayer.Subject(w.ctx, i)
		var got []uint64
		for range sent.Events {
			m, err := sub.NextMsgWithContext(w.ctx)
			if err != nil {
				t.Fatal(err)
			}
			rec, err := dataset.DecodeEvent(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rec.Version)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v, %s", name, err, diff)
		}
	}
	if got := w.entries(); got[0] != "ann stale: versions 1 to 5 to subject prices.history" || len(got) != 5 {
		t.Errorf("the entries are %q", got)
	}
}

func TestSubjectRefuses(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(*replay.SubjectInput)
		want   error
		text   string
	}{
		"own subject": {func(i *replay.SubjectInput) { i.Subject = "freshet.v1.datasets.prices" }, events.ErrSubject, "reach instances"},
		"reversed":    {func(i *replay.SubjectInput) { i.From, i.To = 3, 2 }, replay.ErrInput, "ascending"},
		"two begins":  {func(i *replay.SubjectInput) { i.From, i.Since = 3, noon }, replay.ErrInput, "exclude each other"},
		"rate":        {func(i *replay.SubjectInput) { i.Rate = -1 }, replay.ErrInput, "want 0.01 to 100000"},
		"too new":     {func(i *replay.SubjectInput) { i.From = 6 }, replay.ErrUnknownVersion, "the newest is 5"},
		"end too new": {func(i *replay.SubjectInput) { i.To = 9 }, replay.ErrUnknownVersion, "the newest is 5"},
		"dataset":     {func(i *replay.SubjectInput) { i.Dataset = "cities" }, replay.ErrUnknownDataset, "cities"},
	} {
		if sent, err := w.replayer.Subject(w.ctx, to(c.change)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || sent.Events > 0 {
			t.Errorf("%s: %+v, %v", name, sent, err)
		}
	}
	if len(w.entries()) > 0 {
		t.Error("a refused replay has an entry")
	}
}

// A damaged record, or an outage of NATS, ends the replay, and the error says how far it came.
func TestSubjectEndsEarly(t *testing.T) {
	w := newWorld(t)
	sub := w.consumer()
	place := w.store.RecordPlace("prices", 4)
	if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	sent, err := w.replayer.Subject(w.ctx, to(nil))
	if err == nil || sent.Events != 3 || !strings.Contains(err.Error(), "the record of version 4 is damaged") || !strings.Contains(err.Error(), "3 of 5 events of prices were sent to prices.history, up to version 3") {
		t.Errorf("%+v, %v", sent, err)
	}
	w.versions(sub, 3)
	i := to(func(i *replay.SubjectInput) { i.To, i.Rate, i.RequestID = 3, 2, "r-2" })
	i.Begun = func(replay.Begun) { w.nats.Kill() }
	if sent, err := w.replayer.Subject(w.ctx, i); !errors.Is(err, replay.ErrNATS) || sent.Events > 2 {
		t.Errorf("%+v, %v", sent, err)
	}
	if sent, err := w.replayer.Subject(w.ctx, i); !errors.Is(err, replay.ErrNATS) || !strings.Contains(err.Error(), "nothing was sent") || sent.Events > 0 {
		t.Errorf("%+v, %v", sent, err)
	}
}
