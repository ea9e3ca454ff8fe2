package publish_test

import (
	"testing"

	"freshet.dev/pkg/publish"
)

// No gate about the records of a version holds up a delete. The key stays that of the dataset until its setting changes.
func TestRulesOfADeletedDataset(t *testing.T) {
	r := newRuled(t)
	r.publish(t, keyed(ndjson(`{"a":"1","b":"7","n":7}`, `{"a":"2","b":"8","n":8}`), "a"))
	r.set(t, "prices", `{"required_keys":["1"],"schema":{"required":["a"]},"min_records":1,"max_fewer_records_percent":0,"max_fewer_bytes_percent":0,`+
		`"max_changed_records_percent":0,"max_changed_bytes_percent":0,"max_more_records_percent":0,"max_more_bytes_percent":0}`)
	in := publish.DeleteInput{Dataset: "prices", Reason: "a test", DryRun: true}
	if seen := must(r.Delete(t.Context(), in)).Preview; seen.Err("prices") != nil {
		t.Error(seen.Err("prices"))
	}
	in.DryRun = false
	if got := must(r.Delete(t.Context(), in)); !got.Record.Deleted || got.Record.Version != 2 {
		t.Errorf("%+v", got.Record)
	}
	_, err := r.Publish(t.Context(), "prices", ndjson(`{"a":"3"}`))
	gateError(t, err, 2, []string{"required_keys"}, `the version lacks 1 of 1 keys: "1"`)
	err = r.refused(t, keyed(ndjson(`{"a":"1","b":"7","n":7}`), "b"), `the key of the dataset is "a"`, publish.ErrKey)
	r.remedy(t, err)
	r.set(t, "prices", `{"required_keys":["7"]}`)
	if got := keyNames(r.publish(t, keyed(ndjson(`{"a":"1","b":"7","n":7}`), "b"))); got != "7" {
		t.Errorf("the keys are %s", got)
	}
	// A rollback beyond the delete reads all records of its version. It has the keys of then.
	r.set(t, "prices", `{"key":"a","required_keys":["1"],"max_more_records_percent":null,"max_more_bytes_percent":null}`)
	got, err := r.Rollback(t.Context(), back(1))
	if err != nil || keyNames(content(t, r.store, got.Record)) != "1 2" {
		t.Errorf("%+v, %v", got, err)
	}
	patched, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: ndjson(`{"a":"2","$remove":true}`), Base: got.Record.Version})
	if err == nil {
		t.Errorf("a patch passes the gates: %+v", patched)
	}
	gateError(t, err, 4, []string{"max_fewer_records_percent", "max_fewer_bytes_percent"})
	noTemp(t, r.temp)
}
