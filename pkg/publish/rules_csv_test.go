package publish_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"freshet.dev/pkg/publish"
)

// A CSV must not turn the numbers and booleans of a dataset into strings.
func TestTypesOfCSV(t *testing.T) {
	r := newRuled(t)
	r.publish(t, keyed(ndjson(`{"sku":"A","cents":5,"sold":true,"note":"7"}`, `{"sku":"B","cents":null,"sold":false,"note":null}`), "sku"))
	in := func() publish.Input {
		return csv("sku,cents,sold,note", "A,6,t,7", "C,1.50,f,")
	}
	err := r.refused(t, in(), `line 1: the columns ["cents"] would turn numbers of the dataset into strings, and the columns ["sold"] would turn booleans`, nil)
	_, patchErr := r.Patch(t.Context(), "prices", publish.PatchInput{Input: in()})
	if !errors.Is(patchErr, publish.ErrInput) || !strings.Contains(patchErr.Error(), `--set 'csv_numbers=["cents"]'`) {
		t.Errorf("a patch: %v", patchErr)
	}
	if got, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: csv("sku,$remove", "B,1")}); err != nil || got.Changes.Removed != 1 {
		t.Errorf("a patch of removals: %+v, %v", got, err)
	}
	r.remedy(t, err)
	want := map[string]string{"A": `{"sku":"A","cents":6,"sold":true,"note":"7"}`, "C": `{"sku":"C","cents":1.50,"sold":false,"note":""}`}
	if got := r.publish(t, in()); !maps.Equal(got, want) {
		t.Errorf("the records are %v", got)
	}
	err = r.refused(t, csv("sku,cents,sold,note", "A,,t,7"), `line 2: the field in column "cents" is ""`, nil)
	r.remedy(t, err)
	if got := r.publish(t, csv("sku,cents,sold,note", "A,,t,7")); got["A"] != `{"sku":"A","cents":null,"sold":true,"note":"7"}` {
		t.Errorf("the records are %v", got)
	}
	// Strings are strings if someone says so.
	r.set(t, "prices", `{"csv_numbers":[],"csv_booleans":[],"csv_null":null}`)
	if got := r.publish(t, csv("sku,cents,sold", "A,6,t")); got["A"] != `{"sku":"A","cents":"6","sold":"t"}` {
		t.Errorf("the records are %v", got)
	}
}

func TestDelimiterOfCSV(t *testing.T) {
	r := newRuled(t)
	err := r.refused(t, keyed(csv("sku;price", "A;1,5"), "sku"), `the header has no column "sku"`, nil)
	r.remedy(t, err)
	if got := r.publish(t, keyed(csv("sku;price", "A;1,5"), "sku")); got["A"] != `{"sku":"A","price":"1,5"}` {
		t.Errorf("the records are %v", got)
	}
}

// Settings that do not fit the key are refused before a record is read.
func TestTypesThatDoNotFitTheKey(t *testing.T) {
	r := newRuled(t)
	r.set(t, "prices", `{"csv_booleans":"sku"}`)
	r.refused(t, keyed(csv("sku", "true"), "sku"), `csv_booleans names the column "sku", which is in the key`, nil)
}
