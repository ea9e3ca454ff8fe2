package publish_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/schema"
)

// withV is a schema that the values of numbered meet.
const withV = `{"type":"object","required":["id"],"properties":{"id":{"type":"string"},"v":{"type":"string"}}}`

func schemaOf(text string) dataset.Gates { return dataset.Gates{Schema: json.RawMessage(text)} }

// The values of a publish, those that a patch adds or changes, and those that a rollback brings back must meet the schema.
func TestSchemaGate(t *testing.T) {
	gates := schemaOf(withV)
	r := gated(t, &gates)
	old := numbered(300)
	old["7"] = `{"id":"7","v":7}`
	gates = dataset.Gates{}
	old.publish(t, r) // version 1, before the schema
	gates = schemaOf(withV)

	bad := numbered(300)
	for i := range 5 {
		bad[fmt.Sprint(i)] = fmt.Sprintf(`{"id":"%d","v":%d}`, i, i)
	}
	r.untouched(t, func() {
		_, err := r.Publish(t.Context(), "prices", bad.input())
		gateError(t, err, 1, []string{"schema"}, "5 of 300 records do not meet the schema: line ", `key "0": /v: got number, want string (schema /properties/v/type)`, "and 2 more", "correct the input")
		in := shrinking(bad.input())
		in.DryRun = true
		seen := must(r.Publish(t.Context(), "prices", in)).Preview
		gateError(t, seen.Err("prices"), 1, []string{"schema"})
		records := publish.Input{Records: publish.Pairs(maps.All(map[string][]byte{"a": []byte("no JSON")}))}
		_, err = r.Publish(t.Context(), "prices", shrinking(records))
		gateError(t, err, 1, []string{"schema"}, `1 of 1 records do not meet the schema: record 1, key "a": the value: the value is no JSON`)
		_, err = r.Patch(t.Context(), "prices", patch(`{"id":"1","v":1}`, `{"id":"2","v":"x"}`, `{"id":"3","$remove":true}`))
		gateError(t, err, 1, []string{"schema"}, `1 of 2 records that are added or changed do not meet the schema: key "1": /v: got number`)
	})
	noTemp(t, r.temp)
	// A patch says nothing of the other records, which may be older than the schema.
	if got := must(r.Patch(t.Context(), "prices", patch(`{"id":"2","v":"x"}`))); got.Record.Version != 2 {
		t.Errorf("%+v", got)
	}
	numbered(300).publish(t, r) // version 3
	dry := back(1)
	dry.DryRun = true
	r.untouched(t, func() {
		_, err := r.Rollback(t.Context(), back(1))
		gateError(t, err, 3, []string{"schema"}, `1 of 1 records that are added or changed do not meet the schema: key "7"`)
		if seen := must(r.Rollback(t.Context(), dry)).Preview; len(seen.Refused) != 1 || seen.Refused[0].Gate != "schema" || seen.Refused[0].Shrinks {
			t.Errorf("%+v", seen)
		}
	})
	gates = dataset.Gates{}
	if got := must(r.Rollback(t.Context(), back(1))); got.Record.Version != 4 {
		t.Errorf("without the schema: %+v", got)
	}
}

// A rollback that reads all records of its version has all of them checked.
func TestSchemaGateOfARollbackWithoutDeltas(t *testing.T) {
	gates := dataset.Gates{}
	r := gated(t, &gates)
	m := numbered(300)
	m["7"] = `{"id":"7","v":7}`
	m.publish(t, r)
	for i := range m { // so much changes that the snapshots are fewer bytes
		m[i] = fmt.Sprintf(`{"id":%q,"v":"%s"}`, i, strings.Repeat(i, 20))
	}
	m.publish(t, r)
	gates = schemaOf(withV)
	_, err := r.Rollback(t.Context(), back(1))
	gateError(t, err, 2, []string{"schema"}, `key "7": /v: got number`)
}

func TestRequiredKeys(t *testing.T) {
	gates := dataset.Gates{RequiredKeys: []string{"1", "2", "3"}}
	r := gated(t, &gates)
	m := numbered(300)
	delete(m, "2")
	_, err := r.Publish(t.Context(), "prices", m.input())
	gateError(t, err, 0, []string{"required_keys"}, `the version lacks 1 of 3 keys: "2"`)
	m = numbered(300)
	m.publish(t, r)
	r.untouched(t, func() {
		in := patch(`{"id":"2","$remove":true}`, `{"id":"3","v":"x"}`, `{"id":"9","$remove":true}`)
		_, err := r.Patch(t.Context(), "prices", in)
		gateError(t, err, 1, []string{"required_keys"}, `the version lacks 1 of 3 keys: "2"`)
		in = patch(`{"id":"2","$remove":true}`)
		in.Input = shrinking(in.Input)
		_, err = r.Patch(t.Context(), "prices", in)
		gateError(t, err, 1, []string{"required_keys"})
	})
	if got := must(r.Patch(t.Context(), "prices", patch(`{"id":"9","$remove":true}`, `{"id":"3","v":"x"}`))); got.Record.Version != 2 {
		t.Errorf("%+v", got)
	}
	// A key that the version before lacks already: any patch is refused until one adds it.
	gates.RequiredKeys = []string{"1", "new", "newer", "newest", "all new"}
	_, err = r.Patch(t.Context(), "prices", patch(`{"id":"5","v":"x"}`))
	gateError(t, err, 2, []string{"required_keys"}, `the version lacks 4 of 5 keys: "new", "newer", "newest", and 1 more`)
	if got := must(r.Patch(t.Context(), "prices", patch(`{"id":"new"}`, `{"id":"newer"}`, `{"id":"newest"}`, `{"id":"all new"}`))); got.Record.Version != 3 {
		t.Errorf("%+v", got)
	}
	_, err = r.Rollback(t.Context(), back(1))
	gateError(t, err, 3, []string{"required_keys"}, `"new"`)
	gates.RequiredKeys = []string{"9"}
	if got := must(r.Rollback(t.Context(), back(1))); got.Record.Version != 4 {
		t.Errorf("%+v", got)
	}
}

// The bytes of records that change in place, as a publish, a patch and a rollback count them.
func TestChangedBytesGate(t *testing.T) {
	most := 1
	gates := dataset.Gates{}
	r := gated(t, &gates)
	m := numbered(300)
	m.publish(t, r)
	gates.MaxChangedBytes = &most
	m["5"] = `{"id":"5","v":"` + strings.Repeat("x", 500) + `"}`
	const detail = "the records that change have 518 bytes and the version before has "
	_, err := r.Publish(t.Context(), "prices", m.input())
	gateError(t, err, 1, []string{"max_changed_bytes_percent"}, detail)
	_, err = r.Patch(t.Context(), "prices", patch(m["5"], `{"id":"added","v":"`+strings.Repeat("x", 500)+`"}`))
	gateError(t, err, 1, []string{"max_changed_bytes_percent"}, detail)
	gates.MaxChangedBytes = nil
	m.publish(t, r)
	must(r.Patch(t.Context(), "prices", patch(`{"id":"5"}`)))
	gates.MaxChangedBytes = &most
	_, err = r.Rollback(t.Context(), back(2))
	gateError(t, err, 3, []string{"max_changed_bytes_percent"}, detail)
}

// A schema that cannot be used, which a caller's Config.Settings returns, fails the publish with what to do.
func TestUnusableSchema(t *testing.T) {
	gates := schemaOf(`{"$ref":"https://example.com/prices"}`)
	r := gated(t, &gates)
	_, err := r.Publish(t.Context(), "prices", first(2))
	if !errors.Is(err, schema.ErrSchema) || !strings.Contains(err.Error(), `it refers to "https://example.com/prices"`) || !strings.Contains(err.Error(), "freshet settings prices --set schema=") {
		t.Errorf("%v", err)
	}
	r.nothingCommitted(t)
}

// The records of a publish are checked once, however many races it loses, unless the schema changes.
func TestSchemaIsCheckedOnce(t *testing.T) {
	gates := schemaOf(withV)
	r, f := newFaulty(t)
	cfg := publish.Config{TempDir: r.temp, Settings: func(context.Context, string) (dataset.Settings, error) { return dataset.Settings{Gates: gates}, nil }}
	p := must(publish.Open(cfg, publish.Deps{Store: f}))
	numbered(100).publish(t, r)
	lost := 0
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		if lost++; lost <= 2 {
			put := f.putVersion
			f.putVersion = nil
			must(r.sibling(t).Publish(ctx, "prices", first(100+lost)))
			f.putVersion = put
		}
		if lost == 2 {
			gates = schemaOf(`{"properties":{"v":{"maxLength":3}}}`)
		}
		return f.Store.PutVersion(ctx, rec)
	}
	_, err := p.Publish(t.Context(), "prices", first(120))
	gateError(t, err, 3, []string{"schema"}, "120 of 120 records", "maxLength")
}

// The end of the context ends the checks.
func TestSchemaGateIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) {
		c.Settings = func(context.Context, string) (dataset.Settings, error) {
			cancel()
			return dataset.Settings{Gates: schemaOf(withV)}, nil
		}
	})
	if _, err := r.Publish(ctx, "prices", first(5000)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r.nothingCommitted(t)
}
