package publish_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/publish"
)

// price has keys of several types.
type price struct {
	Shop  string  `parquet:"shop"`
	SKU   float64 `parquet:"sku"`
	Cents int64   `parquet:"cents,decimal(2:18)"`
}

// A Parquet file and an NDJSON file make one version, by the rules of the dataset's keys. A key that is in both is refused with its file and
// its row or line, and so is a value that does not meet the schema.
func TestRulesOfSeveralFiles(t *testing.T) {
	r := newRuled(t)
	files := func(lines string, rows ...price) publish.Input {
		return keyed(publish.Input{Files: filesOf(
			publish.File{Name: "p.parquet", Body: bytes.NewReader(columns(t, rows...))}, textFile("n.ndjson", lines),
			publish.File{Name: "q.parquet", Body: bytes.NewReader(columns(t, rows[:0]...))},
		)}, "shop", "sku")
	}
	const seven = `{"shop":"a","sku":7}` + "\n"
	twice := func() publish.Input {
		return files(`{"shop":"b","sku":8}`+"\n"+seven, price{"a", 6, 100}, price{"a", 7, 150})
	}
	r.refused(t, twice(), `dataset "prices": file "n.ndjson": line 2: key "a:7": record 2 of "p.parquet" has the key already`, nil)
	dry := twice()
	dry.DryRun = true
	r.refused(t, dry, `file "n.ndjson": line 2: key "a:7": record 2 of "p.parquet"`, nil)
	r.settings(t, "prices", `{}`)
	r.refused(t, files(seven, price{"a", 6, 100}, price{"a", 7.5, 150}), `file "p.parquet": record 2: the key member "sku" is 7.5, which is no plain integer`, nil)
	r.refused(t, files(`{"shop":"b"}`, price{"a", 6, 100}), `file "n.ndjson": line 1: the record has no member "sku"`, nil)

	got := r.publish(t, files(seven, price{"a", 6, 100}, price{"b:c", 7, -5}))
	if keyNames(got) != "a:6 a:7 b~1c:7" || got["b~1c:7"] != `{"shop":"b:c","sku":7,"cents":-0.05}` {
		t.Errorf("the records are %v", got)
	}
	r.settings(t, "prices", `{"key":["shop","sku"],"number_keys":"plain"}`)
	r.set(t, "prices", `{"schema":{"properties":{"cents":{"minimum":0}}}}`)
	in := files(`{"shop":"c","sku":1,"cents":-1}`, price{"a", 6, 100}, price{"b:c", 7, -5})
	_, err := r.Publish(t.Context(), "prices", in)
	gateError(t, err, 1, []string{"schema"}, `2 of 3 records do not meet the schema: record 2 of "p.parquet", key "b~1c:7": /cents`, `; line 1 of "n.ndjson", key "c:1": /cents`)
	r.set(t, "prices", `{"schema":null,"number_keys":"integer"}`)
	if got := keyNames(r.publish(t, files(`{"shop":"a","sku":70e-1}`, price{"a", 6, 100}))); got != "a:6 a:7" {
		t.Errorf("the keys are %s", got)
	}
	noTemp(t, r.temp)
}

// A decimal and a float of a Parquet file are keys by their JSON.
func TestNumbersOfParquetAsKeys(t *testing.T) {
	in := func(key string, rows ...price) publish.Input {
		return keyed(publish.Input{Body: bytes.NewReader(columns(t, rows...))}, key)
	}
	r := newRuled(t)
	err := r.refused(t, in("cents", price{Cents: 700}), `record 1: the key member "cents" is 7.00, which is no plain integer; write it as 7; or`, nil)
	r.remedy(t, err)
	if got := keyNames(r.publish(t, in("cents", price{Cents: 700}, price{Cents: -1200}))); got != "-12 7" {
		t.Errorf("the keys are %s", got)
	}
	r.refused(t, in("cents", price{Cents: 701}), `record 1: the key member "cents" is 7.01, which is no integer`, nil)
	r = newRuled(t)
	if got := keyNames(r.publish(t, in("sku", price{SKU: 7}, price{SKU: 1 << 60}))); got != "1152921504606847000 7" && got != "1152921504606846976 7" {
		t.Errorf("the keys are %s", got)
	}
	err = r.refused(t, in("sku", price{SKU: 1e21}), `record 1: the key member "sku" is 1e+21, which is no plain integer; write it as 1`+strings.Repeat("0", 21), nil)
	r.remedy(t, err)
	r.set(t, "prices", `{"max_fewer_records_percent":100}`)
	if got := keyNames(r.publish(t, in("sku", price{SKU: 1e21}))); got != "1"+strings.Repeat("0", 21) {
		t.Errorf("the keys are %s", got)
	}
}

// A file whose name came before has its number in messages too: curl sends no folders.
func TestFilesOfTheSameName(t *testing.T) {
	r := newRig(t, nil)
	in := publish.Input{Key: "id", Files: filesOf(textFile("x.csv", "id\na\nb\n"), textFile("x.csv", "id\nc\nb\n"), textFile("x.csv", "id\n"))}
	_, err := r.Publish(t.Context(), "items", in)
	refusedAt(t, err, publish.InputError{File: "x.csv (file 2)", Line: 3, Key: "b"}, `the key stands on line 3 of "x.csv" already`)
}

// The column that marks removals may stand anywhere in a Parquet file.
func TestRemovalsInTheFirstColumn(t *testing.T) {
	type marked struct {
		Remove *bool  `parquet:"$remove,optional"`
		ID     string `parquet:"id"`
		Cents  int64  `parquet:"cents"`
	}
	r := newRig(t, nil)
	r.text(t, "items", `{"id":"a"}`+"\n"+`{"id":"b"}`)
	data := columns(t, marked{ID: "b", Cents: 1}, marked{new(true), "a", 0}, marked{new(false), "c", 2})
	if _, err := r.Patch(t.Context(), "items", publish.PatchInput{Input: publish.Input{Body: bytes.NewReader(data), Key: "id"}}); err != nil {
		t.Fatal(err)
	}
	if got := r.newest(t, "items"); len(got) != 2 || got["b"] != `{"id":"b","cents":1}` || got["c"] != `{"id":"c","cents":2}` {
		t.Errorf("the records are %v", got)
	}
}

// A retry of several files is answered with the version that they made, in whatever order and whatever formats they come.
func TestRetryOfSeveralFiles(t *testing.T) {
	r := newRuled(t)
	in := func(id string, files ...publish.File) publish.Input {
		return asked(keyed(publish.Input{Files: filesOf(files...)}, "id"), id)
	}
	table := func() publish.File {
		return publish.File{Name: "p.parquet", Body: bytes.NewReader(columns(t, item{ID: "a"}))}
	}
	r.publish(t, in("req-1", table(), textFile("b.ndjson", `{"id":"b"}`)))
	got, err := r.Publish(t.Context(), "prices", in("req-1", textFile("b.json", `[{"id":"b"}]`), table()))
	if err != nil || !got.Repeated || got.Record.Version != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := r.Publish(t.Context(), "prices", in("req-1", table())); !errors.Is(err, publish.ErrRequestID) {
		t.Errorf("error is %v", err)
	}
	change := func(id string, last publish.File) publish.PatchInput {
		return publish.PatchInput{Input: in(id, textFile("x.ndjson", `{"id":"b","$remove":true}`), last)}
	}
	if _, err := r.Patch(t.Context(), "prices", change("req-2", textFile("c.csv", "id\nc\n"))); err != nil {
		t.Fatal(err)
	}
	again, err := r.Patch(t.Context(), "prices", change("req-2", textFile("c.csv", "id\nc\n")))
	if err != nil || !again.Repeated || again.Record.Version != 2 {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := r.Patch(t.Context(), "prices", change("req-2", textFile("c.csv", "id\nd\n"))); !errors.Is(err, publish.ErrRequestID) {
		t.Errorf("error is %v", err)
	}
	noTemp(t, r.temp)
}

// A CSV among several files must not turn the numbers of a dataset into strings.
func TestTypesOfCSVAmongFiles(t *testing.T) {
	r := newRuled(t)
	r.publish(t, keyed(ndjson(`{"id":"a","cents":1}`), "id"))
	in := func() publish.Input {
		return publish.Input{Files: filesOf(textFile("a.ndjson", `{"id":"a","cents":1}`), textFile("b.csv", "id,note\nb,x\n"), textFile("c.csv", "\n\nid,cents\nc,2\n"))}
	}
	err := r.refused(t, in(), `file "c.csv": line 3: the columns ["cents"] would turn numbers of the dataset into strings`, nil)
	r.remedy(t, err)
	// A typed column must be in every CSV of all records.
	r.refused(t, in(), `file "b.csv": line 1: the header has no column "cents", which the setting csv_numbers names`, nil)
	in2 := publish.Input{Files: filesOf(textFile("a.ndjson", `{"id":"a","cents":1}`), textFile("c.csv", "id,cents\nc,2\n"))}
	if got := r.publish(t, in2); got["c"] != `{"id":"c","cents":2}` {
		t.Errorf("the records are %v", got)
	}
	in3 := publish.PatchInput{Input: publish.Input{Files: filesOf(textFile("b.csv", "id,note\nb,x\n"), textFile("c.csv", "\nid,$remove,cents\nc,1,\nd,,5\n"))}}
	if got, err := r.Patch(t.Context(), "prices", in3); err != nil || got.Changes.Removed != 1 || got.Changes.Added != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	_, publishErr := r.Publish(t.Context(), "prices", publish.Input{Files: filesOf(textFile("c.csv", "\nid,$remove,cents\nc,1,5\n"))})
	refusedAt(t, publishErr, publish.InputError{File: "c.csv", Line: 2}, `the header has the column "$remove"`)
}
