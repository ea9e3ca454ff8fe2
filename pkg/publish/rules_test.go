package publish_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"github.com/sourcegraph/conc/pool"
)

// ruled is a publisher that holds inputs to the settings in the journal of its store.
type ruled struct {
	*rig
	*journal.Journal
}

// rule returns a publisher of r's store, with a journal of its own. It opens the store with open if that is not nil.
func (r *rig) rule(t testing.TB, with func(store.Store) store.Store) ruled {
	t.Helper()
	st := must(storeurl.Open(t.Context(), r.url))
	t.Cleanup(func() { _ = st.Close() })
	if with != nil {
		st = with(st)
	}
	j := must(journal.New(journal.Config{Fresh: -1}, journal.Deps{Store: st}))
	p := must(publish.Open(publish.Config{TempDir: r.temp, Workers: 2, Settings: j.Of, FillSettings: j.Fill}, publish.Deps{Store: st}))
	return ruled{&rig{p, st, r.url, r.temp}, j}
}

func newRuled(t testing.TB) ruled { return newRig(t, nil).rule(t, nil) }

// set changes settings, given as a JSON object.
func (r ruled) set(t testing.TB, name, values string) {
	t.Helper()
	var set map[string]json.RawMessage
	if err := json.Unmarshal([]byte(values), &set); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Set(t.Context(), name, journal.Change{Set: set, Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
}

// settings fails unless the settings of the dataset are those in the JSON.
func (r ruled) settings(t testing.TB, name, want string) {
	t.Helper()
	s := must(r.Of(t.Context(), name))
	if got := string(must(json.Marshal(s))); got != want {
		t.Errorf("the settings of %s are %s, want %s", name, got, want)
	}
}

// ndjson is an input of one record a line.
func ndjson(lines ...string) publish.Input {
	return publish.Input{Body: strings.NewReader(strings.Join(lines, "\n")), By: "ann@host"}
}

// csv is an input in CSV.
func csv(lines ...string) publish.Input {
	in := ndjson(lines...)
	in.Format = publish.FormatCSV
	return in
}

func keyed(in publish.Input, key ...string) publish.Input {
	in.Keys = key
	return in
}

// publish publishes in, and returns the content of the newest version.
func (r ruled) publish(t testing.TB, in publish.Input) map[string]string {
	t.Helper()
	got, err := r.Publish(t.Context(), "prices", in)
	if err != nil {
		t.Fatal(err)
	}
	noTemp(t, r.temp)
	return content(t, r.store, got.Record)
}

// refused fails unless publishing in is refused with want in the error, which wraps cause if that is not nil.
func (r ruled) refused(t testing.TB, in publish.Input, want string, cause error) error {
	t.Helper()
	_, err := r.Publish(t.Context(), "prices", in)
	if !errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), want) || cause != nil && !errors.Is(err, cause) {
		t.Errorf("error is %v; want %q", err, want)
	}
	noTemp(t, r.temp)
	return err
}

var assignment = regexp.MustCompile(`--set '([a-z_]+)=((?:[^']|'\\'')*)'|--set ([a-z_]+)=(\w+)`)

// remedy changes the settings as the error says.
func (r ruled) remedy(t testing.TB, err error) {
	t.Helper()
	set := map[string]json.RawMessage{}
	for _, m := range assignment.FindAllStringSubmatch(fmt.Sprint(err), -1) {
		value := strings.ReplaceAll(m[2], `'\''`, "'") + m[4]
		if set[m[1]+m[3]] = json.RawMessage(value); !json.Valid([]byte(value)) {
			set[m[1]+m[3]] = must(json.Marshal(value))
		}
	}
	if len(set) == 0 {
		t.Fatalf("%v has no remedy", err)
	}
	if _, err := r.Set(t.Context(), "prices", journal.Change{Set: set, Reason: "the error says so"}); err != nil {
		t.Fatal(err)
	}
}

func keyNames(records map[string]string) string {
	return strings.Join(slices.Sorted(maps.Keys(records)), " ")
}

func TestTheFirstPublishSetsTheKey(t *testing.T) {
	r := newRuled(t)
	in := keyed(ndjson(`{"sku":"A1","id":1}`, `{"sku":"B2","id":2}`), "sku")
	dry := in
	dry.Body, dry.DryRun = strings.NewReader(`{"sku":"A1"}`), true
	if _, err := r.Publish(t.Context(), "prices", dry); err != nil {
		t.Fatal(err)
	}
	r.settings(t, "prices", `{}`)
	if got := keyNames(r.publish(t, in)); got != "A1 B2" {
		t.Errorf("the keys are %s", got)
	}
	const set = `{"key":"sku","number_keys":"plain"}`
	r.settings(t, "prices", set)
	entries := must(r.Entries(t.Context(), "prices", 1, 0))
	if len(entries) != 1 || entries[0].By != "ann@host" || entries[0].Reason != "set by the first publish" {
		t.Errorf("the entries are %+v", entries)
	}
	// The setting is the default. Another key is refused, also by a patch and in a dry run.
	if got := keyNames(r.publish(t, ndjson(`{"sku":"A1","id":1}`, `{"sku":"C3","id":2}`))); got != "A1 C3" {
		t.Errorf("the keys are %s", got)
	}
	other := func() publish.Input { return keyed(ndjson(`{"sku":"A1","id":1}`, `{"sku":"B2","id":2}`), "id") }
	const want = `the key of the dataset is "sku", by its setting key, and this publish has "id"; leave the key out`
	err := r.refused(t, other(), want, publish.ErrKey)
	dry = other()
	dry.DryRun = true
	r.refused(t, dry, want, publish.ErrKey)
	if _, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: other()}); !errors.Is(err, publish.ErrKey) {
		t.Errorf("a patch: %v", err)
	}
	got, patchErr := r.Patch(t.Context(), "prices", publish.PatchInput{Input: ndjson(`{"sku":"D4"}`, `{"sku":"A1","$remove":true}`)})
	if patchErr != nil || keyNames(content(t, r.store, got.Record)) != "C3 D4" {
		t.Errorf("a patch: %+v, %v", got, patchErr)
	}
	if entries := must(r.Entries(t.Context(), "prices", 1, 0)); len(entries) != 1 {
		t.Errorf("the entries are %+v", entries)
	}
	// What the error says to do.
	r.remedy(t, err)
	if got := keyNames(r.publish(t, other())); got != "1 2" {
		t.Errorf("the keys are %s", got)
	}
	r.settings(t, "prices", `{"key":"id","number_keys":"plain"}`)
}

func TestKeyThatMarksRemovals(t *testing.T) {
	r := newRuled(t)
	r.publish(t, keyed(ndjson(`{"sku":"A1","id":1}`), "sku"))
	_, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: ndjson(`{"sku":true}`), Remove: "sku"})
	if !errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), "both the key and removals") {
		t.Errorf("error is %v", err)
	}
}

// A setting from before the first publish holds for it, and is kept.
func TestSettingsBeforeTheFirstPublish(t *testing.T) {
	r := newRuled(t)
	r.set(t, "prices", `{"key":["country","id"],"number_keys":"integer","min_records":1}`)
	r.refused(t, keyed(ndjson(`{"id":1,"country":"de"}`), "id"), `the key of the dataset is "country", "id"`, publish.ErrKey)
	if got := keyNames(r.publish(t, ndjson(`{"id":1.0,"country":"de"}`, `{"id":"a:b","country":"~"}`))); got != "de:1 ~0:a~1b" {
		t.Errorf("the keys are %s", got)
	}
	r.settings(t, "prices", `{"key":["country","id"],"min_records":1,"number_keys":"integer"}`)
}

// A key of several members comes from the first publish as that of one does.
func TestKeysOfSeveralMembers(t *testing.T) {
	r := newRuled(t)
	line := `{"country":"de","it's":7}`
	if got := keyNames(r.publish(t, keyed(ndjson(line), "country", "it's"))); got != "de:7" {
		t.Errorf("the keys are %s", got)
	}
	r.settings(t, "prices", `{"key":["country","it's"],"number_keys":"plain"}`)
	err := r.refused(t, keyed(ndjson(line), "it's", "country"), `the key of the dataset is "country", "it's", by its setting key, and this publish has "it's", "country"`, publish.ErrKey)
	r.remedy(t, err)
	if got := keyNames(r.publish(t, keyed(ndjson(line), "it's", "country"))); got != "7:de" {
		t.Errorf("the keys are %s", got)
	}
}

// Of first publishes with different keys at a time, those with the key of one go on, and all others are refused.
func TestConcurrentFirstPublishes(t *testing.T) {
	for range 10 {
		base := newRig(t, nil)
		keys := []string{"a", "b", "c", "a"}
		errs := make([]error, len(keys))
		publishers := pool.New()
		for i, key := range keys {
			r := base.rule(t, nil)
			publishers.Go(func() {
				_, errs[i] = r.Publish(t.Context(), "prices", keyed(ndjson(`{"a":"1","b":"2","c":"3"}`), key))
			})
		}
		publishers.Wait()
		r := base.rule(t, nil)
		key := must(r.Of(t.Context(), "prices")).Input.Key
		for i, err := range errs {
			if won := slices.Equal(key, []string{keys[i]}); won != (err == nil) || !won && !errors.Is(err, publish.ErrKey) {
				t.Errorf("the key is %q; the publish with %s: %v", key, keys[i], err)
			}
		}
		newest := must(r.store.Latest(t.Context(), "prices"))
		want := map[string]string{"a": "1", "b": "2", "c": "3"}[key[0]]
		if got := keyNames(content(t, r.store, newest)); got != want || newest.Version != 1 {
			t.Errorf("the key is %q, and version %d has the keys %s", key, newest.Version, got)
		}
	}
}

// A first publish that is not committed leaves its key. The next needs the same one, or a change of the setting.
func TestFirstPublishThatIsNotCommitted(t *testing.T) {
	r := newRig(t, nil).rule(t, nil)
	var f *faulty
	dying := r.rule(t, func(st store.Store) store.Store {
		f = &faulty{Store: st}
		return f
	})
	broken := errors.New("broken")
	f.putVersion = func(context.Context, dataset.VersionRecord) error { return broken }
	if _, err := dying.Publish(t.Context(), "prices", keyed(ndjson(`{"a":"1","b":"2"}`), "a")); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	r.settings(t, "prices", `{"key":"a","number_keys":"plain"}`)
	err := r.refused(t, keyed(ndjson(`{"a":"1","b":"2"}`), "b"), `the key of the dataset is "a"`, publish.ErrKey)
	r.remedy(t, err)
	if got := keyNames(r.publish(t, keyed(ndjson(`{"a":"1","b":"2"}`), "b"))); got != "2" {
		t.Errorf("the keys are %s", got)
	}
}

// A first publish that a gate refuses sets nothing.
func TestFirstPublishThatAGateRefuses(t *testing.T) {
	r := newRuled(t)
	r.set(t, "prices", `{"min_records":2}`)
	if _, err := r.Publish(t.Context(), "prices", keyed(ndjson(`{"a":"1"}`), "a")); !errors.Is(err, publish.ErrGate) {
		t.Fatal(err)
	}
	r.settings(t, "prices", `{"min_records":2}`)
}

// A dataset of an earlier release has no key. A publish with the key of its records sets it; another is refused. Its numbers stay keys as
// they are written.
func TestDatasetOfAnEarlierRelease(t *testing.T) {
	old := newRig(t, nil)
	old.text(t, "prices", `{"id":1,"sku":"A"}`+"\n"+`{"id":1.0,"sku":"B"}`)
	r := old.rule(t, nil)
	err := r.refused(t, keyed(ndjson(`{"id":1,"sku":"A"}`), "sku"), `the key "sku" is not that of the records of version 1`, publish.ErrKey)
	if !strings.Contains(err.Error(), `that record has its key in "id"`) {
		t.Errorf("error is %v", err)
	}
	r.refused(t, ndjson(`{"id":1,"sku":"A"}`), `the key "key" is not that of the records of version 1`, publish.ErrKey)
	if _, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: keyed(ndjson(`{"sku":"A"}`), "sku")}); !errors.Is(err, publish.ErrKey) {
		t.Errorf("a patch: %v", err)
	}
	r.settings(t, "prices", `{}`)
	if got := keyNames(r.publish(t, keyed(ndjson(`{"id":1}`, `{"id":1.0}`, `{"id":1e0}`), "id"))); got != "1 1.0 1e0" {
		t.Errorf("the keys are %s", got)
	}
	r.settings(t, "prices", `{"key":"id"}`)
	if entries := must(r.Entries(t.Context(), "prices", 1, 0)); len(entries) != 1 || entries[0].Reason != "set by the publish after version 1, whose records have this key" {
		t.Errorf("the entries are %+v", entries)
	}
	r.set(t, "prices", `{"key":null}`)
	err = r.refused(t, keyed(ndjson(`{"id":1,"sku":"A"}`), "sku"), `the key "sku" is not that`, publish.ErrKey)
	r.remedy(t, err)
	if got := keyNames(r.publish(t, keyed(ndjson(`{"id":1,"sku":"A"}`), "sku"))); got != "A" {
		t.Errorf("the keys are %s", got)
	}
}

// Records that show no key let any key pass, and none is set: values of a program, and objects that are lost.
func TestDatasetWhoseRecordsShowNoKey(t *testing.T) {
	old := newRig(t, nil)
	records := publish.Pairs(maps.All(map[string]string{"k": "no JSON", "l": `["a"]`, "m": `{"a":`}))
	if _, err := old.Publish(t.Context(), "prices", publish.Input{Records: records}); err != nil {
		t.Fatal(err)
	}
	r := old.rule(t, nil)
	if got := keyNames(r.publish(t, keyed(ndjson(`{"id":"a"}`), "id"))); got != "a" {
		t.Errorf("the keys are %s", got)
	}
	r.settings(t, "prices", `{}`)
	newest := must(r.store.Latest(t.Context(), "prices"))
	if err := os.Remove(r.objectPath(newest.Snapshot)); err != nil {
		t.Fatal(err)
	}
	if got := keyNames(r.publish(t, keyed(ndjson(`{"id":"a"}`), "id"))); got != "a" {
		t.Errorf("the keys are %s", got)
	}
	if got := keyNames(r.publish(t, keyed(ndjson(`{"id":"a"}`, `{"id":"b"}`), "id"))); got != "a b" {
		t.Errorf("the keys are %s", got)
	}
	r.settings(t, "prices", `{"key":"id"}`)
	// A program names no key, and is not held to it.
	if _, err := r.Publish(t.Context(), "prices", publish.Input{Records: records}); err != nil {
		t.Error(err)
	}
}

func TestNumbersAsKeysOfANewDataset(t *testing.T) {
	r := newRuled(t)
	in := func() publish.Input { return keyed(ndjson(`{"id":7}`, `{"id":8.0}`), "id") }
	err := r.refused(t, in(), `line 2: the key member "id" is 8.0, which is no plain integer; write it as 8; or`, nil)
	r.settings(t, "prices", `{}`)
	r.remedy(t, err)
	if got := r.publish(t, in()); keyNames(got) != "7 8" || got["8"] != `{"id":8.0}` {
		t.Errorf("the records are %v", got)
	}
	r.refused(t, ndjson(`{"id":1}`, `{"id":1e0}`), "line 2: key \"1\": the key stands on line 1 already", nil)
	r.settings(t, "prices", `{"key":"id","number_keys":"integer"}`)
}

// changing calls do before its first byte is read.
type changing struct {
	io.Reader
	do func()
}

func (c *changing) Read(p []byte) (int, error) {
	if c.do != nil {
		c.do()
		c.do = nil
	}
	return c.Reader.Read(p)
}

// Settings that change while the input is read refuse it, because its keys were made by others.
func TestRulesThatChangeWhileTheInputIsRead(t *testing.T) {
	for change, want := range map[string]string{
		`{"key":"b"}`:               `the key of the dataset is "b"`,
		`{"number_keys":"integer"}`: "the setting number_keys changed to integer while the input was read; publish it again",
	} {
		r := newRuled(t)
		r.publish(t, keyed(ndjson(`{"a":"1","b":"2"}`), "a"))
		in := ndjson(`{"a":"1","b":"3"}`)
		in.Body = &changing{in.Body, func() { r.set(t, "prices", change) }}
		r.refused(t, in, want, nil)
		if newest := must(r.store.Latest(t.Context(), "prices")); newest.Version != 1 {
			t.Errorf("version %d was committed", newest.Version)
		}
	}
}

// A retry of a publish whose version exists is answered with it, whatever the key is by now.
func TestRetryAfterTheKeyChanged(t *testing.T) {
	r := newRuled(t)
	in := func() publish.Input { return asked(keyed(ndjson(`{"a":"1","b":"2"}`), "a"), "req-1") }
	r.publish(t, in())
	r.set(t, "prices", `{"key":"b"}`)
	if got, err := r.Publish(t.Context(), "prices", in()); err != nil || !got.Repeated {
		t.Errorf("%+v, %v", got, err)
	}
}
