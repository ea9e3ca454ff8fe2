package fleet_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// content is what a fake instance serves: values by key.
type content struct {
	version uint64
	values  map[string]string
}

// lookup returns the answers from the content.
func (c content) lookup(_ string, keys [][]byte) (fleet.Content, error) {
	answer := fleet.Content{Version: c.version, Values: make([][]byte, len(keys))}
	if c.version > 0 {
		answer.ID = dataset.VersionID{byte(c.version)}
	}
	for i, key := range keys {
		if value, ok := c.values[string(key)]; ok {
			answer.Values[i] = append([]byte{}, value...)
		}
	}
	return answer, nil
}

// answering runs a GetResponder in the namespace until the test ends, and returns the status of its instance.
func answering(t *testing.T, ctx context.Context, url, namespace, name string, lookup func(string, [][]byte) (fleet.Content, error)) fleet.Status {
	t.Helper()
	nc := connect(t, url)
	s := fleet.Status{Instance: name, Host: "host", PID: 7, Run: "RUN" + name, Labels: map[string]string{"name": name}}
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fleet.NewGetResponder(nc, namespace, s.Run, lookup).Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the responder of %s: %v", name, err)
		}
		eventually(t, ctx, "the subscription has ended", func() bool { return nc.NumSubscriptions() == 0 })
	})
	subscribed(t, ctx, nc)
	return s
}

func subscribed(t *testing.T, ctx context.Context, nc *nats.Conn) {
	t.Helper()
	eventually(t, ctx, "the instance is subscribed", func() bool { return nc.NumSubscriptions() == 1 })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func keys(all ...string) (keys [][]byte) {
	for _, k := range all {
		keys = append(keys, []byte(k))
	}
	return keys
}

func found(value string) fleet.Lookup {
	return fleet.Lookup{Found: true, Digest: sha256.Sum256([]byte(value)), Bytes: len(value), Value: []byte(value)}
}

// TestGet has three instances, one of them behind, and one that serves no version yet.
func TestGet(t *testing.T) {
	ctx, s, nc := start(t)
	newest := content{7, map[string]string{"A1": "new", "B2": "same", "empty": "", "\xff\x00": "binary \xfe"}}
	behind := content{6, map[string]string{"A1": "old", "B2": "same", "empty": "", "\xff\x00": "binary \xfe"}}
	opts := fleet.GetOptions{
		Dataset: "prices", Keys: keys("A1", "B2", "none", "empty", "\xff\x00"), Wait: time.Minute,
		Instances: []fleet.Status{
			answering(t, ctx, s.URL, "", "c", newest.lookup), answering(t, ctx, s.URL, "", "a", newest.lookup),
			answering(t, ctx, s.URL, "", "b", behind.lookup), answering(t, ctx, s.URL, "", "d", content{}.lookup),
		},
	}
	answers, err := fleet.Get(ctx, nc, opts)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(name string, version byte, value string) fleet.Answer {
		return fleet.Answer{
			Instance: name, Host: "host", PID: 7, Run: "RUN" + name, Labels: map[string]string{"name": name},
			Version: uint64(version), ID: dataset.VersionID{version},
			Records: []fleet.Lookup{found(value), found("same"), {}, found(""), found("binary \xfe")},
		}
	}
	none := answer("d", 0, "")
	none.Records = make([]fleet.Lookup, 5)
	want := []fleet.Answer{answer("c", 7, "new"), answer("a", 7, "new"), answer("b", 6, "old"), none}
	// JSON has no difference between an empty value and none.
	equal := cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })
	if diff := cmp.Diff(want, answers, equal); diff != "" {
		t.Fatal(diff)
	}
	for i, agree := range []bool{false, true, true, true, true} {
		if fleet.Agree(answers[:3], i) != agree || !fleet.Agree(answers[:2], i) {
			t.Errorf("key %q: the three agree: %v", opts.Keys[i], !agree)
		}
		if fleet.Agree(answers, i) != (i == 2) {
			t.Errorf("key %q: an instance without a version agrees: %v", opts.Keys[i], i != 2)
		}
	}
	if &answers[0].Records[1].Value[0] != &answers[2].Records[1].Value[0] {
		t.Error("equal values of two instances are two copies")
	}
	if !fleet.Agree(nil, 0) {
		t.Error("no answers disagree")
	}
}

// TestGetOfLargeValues has values around the bound, and more of them than fit into a message.
func TestGetOfLargeValues(t *testing.T) {
	ctx, s, nc := start(t)
	at, above := strings.Repeat("x", fleet.MaxGetValueBytes), strings.Repeat("y", fleet.MaxGetValueBytes+1)
	values := map[string]string{"at": at, "above": above, "most": strings.Repeat("z", dataset.MaxValueBytes)}
	var many []string
	for i := range fleet.MaxGetKeys {
		key := fmt.Sprintf("%0*d", dataset.MaxKeyBytes, i)
		many = append(many, key)
		values[key] = fmt.Sprint(i) + at[:60_000]
	}
	opts := fleet.GetOptions{Dataset: "prices", Wait: time.Minute, Instances: []fleet.Status{answering(t, ctx, s.URL, "", "a", content{7, values}.lookup)}}
	get := func(all ...string) []fleet.Lookup {
		t.Helper()
		opts.Keys = keys(all...)
		answers, err := fleet.Get(ctx, nc, opts)
		if err != nil || answers[0].Err != nil {
			t.Fatalf("%v, %v", err, answers)
		}
		for i, l := range answers[0].Records {
			value := values[all[i]]
			if !l.Found || l.Digest != sha256.Sum256([]byte(value)) || l.Bytes != len(value) || l.HasValue() && string(l.Value) != value || !l.HasValue() && l.Value != nil {
				t.Errorf("%.20s: %d bytes, value %v", all[i], l.Bytes, l.HasValue())
			}
		}
		return answers[0].Records
	}
	three := get("at", "above", "most")
	if !three[0].HasValue() || three[1].HasValue() || three[2].HasValue() {
		t.Error("the values up to the bound are not those in the answer")
	}
	all := get(many...)
	n := 0
	for _, l := range all {
		if l.HasValue() {
			n++
		}
	}
	if n < 10 || n == len(all) || all[len(all)-1].HasValue() {
		t.Errorf("%d of %d values are in the answer of at most 1 MiB", n, len(all))
	}
	if last := get(many[len(many)-1]); !last[0].HasValue() { // fewer keys
		t.Error("an answer for one key has no value")
	}
}

// TestInstancesWithoutAnAnswer has instances that refuse, fail, have ended, and are of earlier releases.
func TestInstancesWithoutAnAnswer(t *testing.T) {
	ctx, s, nc := start(t)
	refusal := fmt.Errorf("%w; start it with FRESHET_REMOTE_GET=true", fleet.ErrGetRefused)
	broken := errors.New("no table\x1b[2J today")
	instances := []fleet.Status{
		answering(t, ctx, s.URL, "", "fine", content{7, map[string]string{"A1": "x"}}.lookup),
		answering(t, ctx, s.URL, "", "refuses", func(string, [][]byte) (fleet.Content, error) { return fleet.Content{}, refusal }),
		answering(t, ctx, s.URL, "", "broken", func(string, [][]byte) (fleet.Content, error) { return fleet.Content{}, broken }),
		answering(t, ctx, s.URL, "", "short", func(string, [][]byte) (fleet.Content, error) { return fleet.Content{}, nil }),
		{Instance: "v0.3", Run: "NOBODY"}, // no responder
		{Instance: "v0.2"},                // no run
		{Instance: "hostile", Run: "x.>"},
	}
	answers, err := fleet.Get(ctx, nc, fleet.GetOptions{Dataset: "prices", Keys: keys("A1"), Instances: instances, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		kind error
		text string
	}{
		{nil, ""},
		{fleet.ErrGetRefused, "the instance refuses remote gets; start it with FRESHET_REMOTE_GET=true"},
		{fleet.ErrGetFailed, "the instance cannot answer: no table [2J today"},
		{fleet.ErrGetFailed, "the instance cannot answer: it has 0 values for 1 keys"},
		{fleet.ErrSilent, "the instance does not answer: nothing answers remote gets for it: it has ended, its release is older, or NATS does not let it subscribe to freshet.v1.instances.get.NOBODY"},
		{fleet.ErrSilent, "the instance does not answer: its release does not answer remote gets"},
		{fleet.ErrSilent, "the instance does not answer: its release does not answer remote gets"},
	} {
		got := answers[i].Err
		if !errors.Is(got, want.kind) || want.kind != nil && got.Error() != want.text || (got == nil) != (answers[i].Records != nil) {
			t.Errorf("%s: %v, want %s", answers[i].Instance, got, want.text)
		}
	}
	if !fleet.Agree(answers, 0) {
		t.Error("instances without an answer disagree")
	}
}

func TestAnInstanceThatHangs(t *testing.T) {
	ctx, s, nc := start(t)
	hang := make(chan struct{})
	instance := answering(t, ctx, s.URL, "", "hangs", func(string, [][]byte) (fleet.Content, error) { <-hang; return fleet.Content{}, nil })
	defer close(hang) // before the responder is stopped
	opts := fleet.GetOptions{Dataset: "prices", Keys: keys("A1"), Instances: []fleet.Status{instance}, Wait: 100 * time.Millisecond}
	answers, err := fleet.Get(ctx, nc, opts)
	if err != nil {
		t.Fatal(err)
	}
	if a := answers[0]; !errors.Is(a.Err, fleet.ErrSilent) || a.Err.Error() != "the instance does not answer: no answer within 100ms" || a.Records != nil {
		t.Errorf("%+v", a)
	}
}

// TestUnreadableAnswers has instances that answer with messages of another kind.
func TestUnreadableAnswers(t *testing.T) {
	ctx, s, nc := start(t)
	messages := map[string]string{
		"{": "its answer is not readable", "": "its answer is not readable", `{"version":7}`: "its answer has 0 records for 1 keys",
		`{"kind":"later","error":"of a later release"}`:                                                                 "of a later release",
		`{"version":7,"records":[{"found":true,"digest":"` + strings.Repeat("00", 32) + `","bytes":1,"value":"eA=="}]}`: "a value with another digest",
	}
	fake := connect(t, s.URL)
	var instances []fleet.Status
	var wants []string
	for message, want := range messages {
		run := fmt.Sprintf("RUN%d", len(instances))
		if _, err := fake.Subscribe("freshet.v1.instances.get."+run, func(m *nats.Msg) {
			for range 2 { // the second is ignored
				if err := m.Respond([]byte(message)); err != nil {
					t.Error(err)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		instances, wants = append(instances, fleet.Status{Instance: run, Run: run}), append(wants, want)
	}
	if err := fake.Flush(); err != nil {
		t.Fatal(err)
	}
	answers, err := fleet.Get(ctx, nc, fleet.GetOptions{Dataset: "prices", Keys: keys("A1"), Instances: instances, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if !errors.Is(a.Err, fleet.ErrGetFailed) || !strings.Contains(a.Err.Error(), wants[i]) || a.Records != nil {
			t.Errorf("%v, want %s", a.Err, wants[i])
		}
	}
}

func TestGetRefuses(t *testing.T) {
	ctx, s, nc := start(t)
	good := fleet.GetOptions{Dataset: "prices", Keys: keys("A1")}
	for want, change := range map[string]func(*fleet.GetOptions){
		"not a namespace":         func(o *fleet.GetOptions) { o.Namespace = "*" },
		"not a dataset name":      func(o *fleet.GetOptions) { o.Dataset = "Prices" },
		"0 keys; want 1 to 64":    func(o *fleet.GetOptions) { o.Keys = nil },
		"65 keys; want 1 to 64":   func(o *fleet.GetOptions) { o.Keys = make([][]byte, 65) },
		"the key is empty":        func(o *fleet.GetOptions) { o.Keys = keys("A1", "") },
		"1025 bytes, the most is": func(o *fleet.GetOptions) { o.Keys = keys(strings.Repeat("k", 1025)) },
	} {
		opts := good
		change(&opts)
		if answers, err := fleet.Get(ctx, nc, opts); err == nil || !strings.Contains(err.Error(), want) || answers != nil {
			t.Errorf("%v, %v, want %s", answers, err, want)
		}
	}
	if answers, err := fleet.Get(ctx, nc, good); err != nil || len(answers) != 0 {
		t.Errorf("of no instance: %v, %v", answers, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	silent := answering(t, ctx, s.URL, "", "a", content{7, nil}.lookup)
	good.Instances = []fleet.Status{{Instance: "gone", Run: silent.Run}}
	if _, err := fleet.Get(ended, nc, good); err != nil && !errors.Is(err, context.Canceled) { // the answer may win
		t.Errorf("of an ended context: %v", err)
	}
}

func TestGetWithoutAConnection(t *testing.T) {
	ctx := testContext(t)
	_, s, nc := start(t)
	s.Stop()
	eventually(t, ctx, "disconnected", func() bool { return !nc.IsConnected() })
	if _, err := fleet.Get(ctx, nc, fleet.GetOptions{Dataset: "prices", Keys: keys("A1")}); !errors.Is(err, fleet.ErrDisconnected) {
		t.Errorf("disconnected: %v", err)
	}
}

// TestGetInANamespace has two instances of one run in two namespaces.
func TestGetInANamespace(t *testing.T) {
	ctx, s, nc := start(t)
	for namespace, value := range map[string]string{"": "of the default namespace", "a": "of a"} {
		i := answering(t, ctx, s.URL, namespace, "i", content{7, map[string]string{"A1": value}}.lookup)
		answers, err := fleet.Get(ctx, nc, fleet.GetOptions{Namespace: namespace, Dataset: "prices", Keys: keys("A1"), Instances: []fleet.Status{i}})
		if err != nil || answers[0].Err != nil || string(answers[0].Records[0].Value) != value {
			t.Errorf("namespace %q answers %v, %v", namespace, answers, err)
		}
	}
}
