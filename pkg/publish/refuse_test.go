package publish_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

// Every input that is refused leaves the dataset, the store and the temporary folder as they were.
func TestRefusedInputPublishesNothing(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "prices", `{"id":"a"}`)
	objects := func() []string {
		var all []string
		err := filepath.WalkDir(strings.TrimPrefix(r.url, "dir://"), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := objects()
	long := strings.Repeat("x", 257)
	for name, c := range map[string]struct {
		dataset string
		in      publish.Input
		line    int
		key     string
		want    string
		cause   error
	}{
		"duplicate":                 {"", publish.Input{Body: strings.NewReader("{\"id\":\"a\"}\n\n{\"id\":\"b\"}\n{\"id\":\"a\"}"), Key: "id"}, 4, "a", "the key stands on line 1 already", nil},
		"broken line":               {"", publish.Input{Body: strings.NewReader("{\"id\":\"a\"}\n{\"id\":\"b\"\n"), Key: "id"}, 2, "", "ends within its JSON object", nil},
		"broken and then duplicate": {"", publish.Input{Body: strings.NewReader("{\"id\":\"a\"}\n{\"id\":\n{\"id\":\"a\"}\n"), Key: "id"}, 2, "", "ends within", nil},
		"too large":                 {"", publish.Input{Body: strings.NewReader(`{"id":"a","v":"` + strings.Repeat(long, 5000) + `"}`), Key: "id"}, 1, "a", "the record has 1285017 bytes, the most is 1048576", dataset.ErrRecord},
		"missing key":               {"", publish.Input{Body: strings.NewReader(`{"id":"a"}`), Key: "sku"}, 1, "", `no member "sku"`, nil},
		"empty":                     {"", publish.Input{Body: strings.NewReader(""), Key: "id"}, 0, "", "the input has no record; a version holds one at least", publish.ErrEmpty},
		"empty array":               {"", publish.Input{Body: strings.NewReader(" [ ]"), Key: "id"}, 0, "", "the input has no record", publish.ErrEmpty},
		"csv header only":           {"", publish.Input{Body: strings.NewReader("id,v\n"), Key: "id", Format: publish.FormatCSV}, 0, "", "the input has no record", publish.ErrEmpty},
		"patch for all":             {"", publish.Input{Body: strings.NewReader("{\"id\":\"a\",\"$remove\":false}\n{\"id\":\"b\",\"$remove\":true}"), Key: "id"}, 2, "", "publish it as a patch", nil},
		"csv patch for all":         {"", publish.Input{Body: strings.NewReader("id,$remove\na,\n"), Key: "id", Format: publish.FormatCSV}, 1, "", "publish it as a patch", nil},
		"cut gzip":                  {"", publish.Input{Body: bytes.NewReader([]byte{0x1f, 0x8b, 8}), Key: "id"}, 1, "", "the gzip data is cut short", nil},
		"name":                      {"Prices!", publish.Input{Body: strings.NewReader(`{"id":"a"}`), Key: "id"}, 0, "", "not a dataset name", dataset.ErrName},
		"no key":                    {"", publish.Input{Body: strings.NewReader(`{"id":"a"}`)}, 1, "", `no member "key"`, nil},
		"two forms of a key":        {"", publish.Input{Body: strings.NewReader(`{"id":"a"}`), Key: "id", Keys: []string{"a", "b"}}, 0, "", "Key and Keys are both set", nil},
		"a member twice":            {"", publish.Input{Body: strings.NewReader(`{"id":"a"}`), Keys: []string{"id", "id"}}, 0, "", `the key has the member "id" twice`, nil},
		"many members":              {"", publish.Input{Body: strings.NewReader(`{"id":"a"}`), Keys: make([]string, 17)}, 0, "", "the key has 17 members, the most is 16", nil},
		"no body":                   {"", publish.Input{Key: "id"}, 0, "", "there is no input", nil},
		"format":                    {"", publish.Input{Body: strings.NewReader("x"), Key: "id", Format: 99}, 0, "", "use one of auto, ndjson, json, csv", nil},
		"label":                     {"", publish.Input{Body: strings.NewReader(`{"id":"x"}`), Key: "id", Labels: map[string]string{"run": long}}, 0, "", `the label "run"`, dataset.ErrVersionRecord},
		"source":                    {"", publish.Input{Body: strings.NewReader(`{"id":"x"}`), Key: "id", Source: long}, 0, "", "the source has 257 bytes", dataset.ErrVersionRecord},
	} {
		t.Run(name, func(t *testing.T) {
			if c.dataset == "" {
				c.dataset = "prices"
			}
			_, err := r.Publish(t.Context(), c.dataset, c.in)
			e, ok := errors.AsType[*publish.InputError](err)
			if !ok || !errors.Is(err, publish.ErrInput) || c.cause != nil && !errors.Is(err, c.cause) {
				t.Fatalf("error is %v", err)
			}
			if e.Dataset != c.dataset || e.Line != c.line || e.Key != c.key || !strings.Contains(e.Problem+"; "+e.Hint, c.want) {
				t.Errorf("error is %#v", e)
			}
			if text := e.Error(); !strings.Contains(text, fmt.Sprintf("%q", c.dataset)) || c.line > 0 && !strings.Contains(text, fmt.Sprintf("line %d", c.line)) {
				t.Errorf("message is %s", text)
			}
			noTemp(t, r.temp)
			if diff := cmp.Diff(before, objects()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A duplicate is found, and nothing is left, also when the records are on disk.
func TestDuplicateAmongSpilledRecords(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MemoryBytes = 4 << 20 })
	var b bytes.Buffer
	pad := strings.Repeat("x", 1000)
	for i := range 10_000 {
		fmt.Fprintf(&b, `{"id":"%d","v":"%s"}`+"\n", i%9_999, pad)
	}
	_, err := r.Publish(t.Context(), "prices", publish.Input{Body: &b, Key: "id"})
	if e, ok := errors.AsType[*publish.InputError](err); !ok || e.Line != 10_000 || e.Key != "0" || !strings.Contains(e.Problem, "line 1 already") {
		t.Errorf("error is %v", err)
	}
	noTemp(t, r.temp)
	if _, err := r.store.Latest(t.Context(), "prices"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
}
