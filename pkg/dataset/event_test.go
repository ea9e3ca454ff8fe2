package dataset_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func record() dataset.VersionRecord {
	digest := func(b byte) (d dataset.Digest) { d[0] = b; return d }
	return dataset.VersionRecord{
		Dataset: "cities", Version: 3, Seed: 0xfedcba9876543210,
		State:        dataset.Checksum{Records: 170540, Hi: 1, Lo: 2},
		PayloadBytes: 25241530,
		Snapshot:     dataset.Object{Version: 2, Digest: digest(1), Bytes: 4196418},
		Deltas:       []dataset.Object{{Version: 3, Digest: digest(2), Bytes: 20000}},
		Changes:      dataset.Changes{Added: 430, Changed: 12, Removed: 4},
		Created:      time.Date(2026, 11, 22, 17, 44, 41, 123456789, time.UTC),
		Source:       "nightly pipeline", Labels: map[string]string{"release": "1.1.61"},
	}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("event.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("event.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEventMatchesItsSchema(t *testing.T) {
	s := schema(t)
	minimal := record()
	minimal.Version, minimal.Snapshot.Version, minimal.Deltas, minimal.Labels, minimal.Source = 1, 1, nil, nil, ""
	for name, r := range map[string]dataset.VersionRecord{"full": record(), "minimal": minimal} {
		t.Run(name, func(t *testing.T) {
			b, err := dataset.EncodeEvent(r)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(doc); err != nil {
				t.Errorf("%s\n%v", b, err)
			}
			got, err := dataset.DecodeEvent(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Invariant: the schema and DecodeEvent both refuse an event that lacks a required member.
func TestSchemaAndDecoderRefuse(t *testing.T) {
	s := schema(t)
	good := must(dataset.EncodeEvent(record()))
	for name, change := range map[string]func(event, data map[string]any){
		"other type":       func(e, _ map[string]any) { e["type"] = "com.example.other" },
		"no subject":       func(e, _ map[string]any) { delete(e, "subject") },
		"no id":            func(e, _ map[string]any) { delete(e, "id") },
		"other spec":       func(e, _ map[string]any) { e["specversion"] = "0.3" },
		"no data":          func(e, _ map[string]any) { delete(e, "data") },
		"version 0":        func(_, d map[string]any) { d["version"] = 0 },
		"bad digest":       func(_, d map[string]any) { d["snapshot"].(map[string]any)["digest"] = "xyz" },
		"bad seed":         func(_, d map[string]any) { d["seed"] = "1" },
		"bad dataset":      func(_, d map[string]any) { d["dataset"] = "Cities!" },
		"empty object":     func(_, d map[string]any) { d["snapshot"].(map[string]any)["bytes"] = 0 },
		"no creation time": func(_, d map[string]any) { delete(d, "created") },
	} {
		t.Run(name, func(t *testing.T) {
			var event map[string]any
			if err := json.Unmarshal(good, &event); err != nil {
				t.Fatal(err)
			}
			change(event, event["data"].(map[string]any))
			b := must(json.Marshal(event))
			doc := must(jsonschema.UnmarshalJSON(bytes.NewReader(b)))
			if s.Validate(doc) == nil {
				t.Errorf("the schema accepts %s", b)
			}
			if _, err := dataset.DecodeEvent(b); !errors.Is(err, dataset.ErrEvent) {
				t.Errorf("error is %v, want ErrEvent", err)
			}
		})
	}
}

func TestEventMustAgreeWithItsRecord(t *testing.T) {
	good := string(must(dataset.EncodeEvent(record())))
	for _, bad := range []string{
		strings.Replace(good, `"id":"cities/3"`, `"id":"cities/4"`, 1),
		strings.Replace(good, `"subject":"cities"`, `"subject":"prices"`, 1),
		good[:len(good)/2],
		"",
		"null",
		"[]",
	} {
		if bad == good {
			t.Fatalf("the change has no effect on %s", good)
		}
		if _, err := dataset.DecodeEvent([]byte(bad)); !errors.Is(err, dataset.ErrEvent) {
			t.Errorf("%.80s: error is %v, want ErrEvent", bad, err)
		}
	}
}

func TestVersionRecordRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*dataset.VersionRecord)
		want   string
	}{
		"gap in chain":    {func(r *dataset.VersionRecord) { r.Snapshot.Version = 1 }, "no chain of deltas leads to the version from the snapshot of version 1"},
		"chain too short": {func(r *dataset.VersionRecord) { r.Deltas = nil }, "no chain of deltas leads to the version from the snapshot of version 2"},
		"delta elsewhere": {func(r *dataset.VersionRecord) { r.Deltas[0].Version = 2 }, "delta 1 of 1 leads to version 2, want 3"},
		"snapshot ahead":  {func(r *dataset.VersionRecord) { r.Snapshot.Version = 4 }, "no chain of deltas"},
		"version 0":       {func(r *dataset.VersionRecord) { r.Version = 0 }, "versions begin at 1"},
		"no digest":       {func(r *dataset.VersionRecord) { r.Snapshot.Digest = dataset.Digest{} }, "the snapshot has no digest"},
		"long label":      {func(r *dataset.VersionRecord) { r.Labels["x"] = strings.Repeat("y", 257) }, `the label "x"`},
		"label no UTF-8":  {func(r *dataset.VersionRecord) { r.Labels["a\xff"] = "1" }, `the label "a\xff"="1" is not UTF-8`},
		"value no UTF-8":  {func(r *dataset.VersionRecord) { r.Labels["a"] = "\xff" }, `the label "a"="\xff" is not UTF-8`},
		"source no UTF-8": {func(r *dataset.VersionRecord) { r.Source = "\xff" }, `the source "\xff" is not UTF-8`},
		"long source":     {func(r *dataset.VersionRecord) { r.Source = strings.Repeat("y", 257) }, "the source has 257 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := record()
			c.change(&r)
			_, err := r.Encode()
			if !errors.Is(err, dataset.ErrVersionRecord) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if _, err := dataset.EncodeEvent(r); !errors.Is(err, dataset.ErrVersionRecord) {
				t.Errorf("EncodeEvent: error is %v", err)
			}
		})
	}
	overlap := record()
	overlap.Snapshot.Version = 3
	if err := overlap.Check(); err != nil {
		t.Errorf("a chain that begins before its snapshot: %v", err)
	}
	withExtra := strings.Replace(string(must(record().Encode())), `{"dataset"`, `{"later_member":1,"dataset"`, 1)
	if r, err := dataset.DecodeVersionRecord([]byte(withExtra)); err != nil || r.ID() != "cities/3" {
		t.Errorf("a member of a later release: %v, %v", r.ID(), err)
	}
}
