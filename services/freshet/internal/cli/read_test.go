package cli

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/publisher"
)

// TestReadVersions reads the versions of a dataset as ops and pipelines do: every verb, against a publisher and instances.
func TestReadVersions(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK, "version 1")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", newPrices), "--key", "sku", "--wait").want(t, exit.OK, "version 2")
	patch := file(t, "patch.ndjson", `{"sku":"B2","$remove":true}`+"\n")
	f.run(t, "publish", "prices", patch, "--key", "sku", "--patch", "--wait").want(t, exit.OK, "version 3")

	t.Run("get", func(t *testing.T) {
		for args, want := range map[string]string{
			"A1 --version 1": `{"sku":"A1","price":5}`, "A1 --version 3": `{"sku":"A1","price":6}`, "A1": `{"sku":"A1","price":6}`,
			"A1 -o json":                        `{"dataset":"prices","version":3,"key":"A1","value":{"sku":"A1","price":6}}` + "\n",
			"A1 --version 1 --output json":      `{"dataset":"prices","version":1,"key":"A1","value":{"sku":"A1","price":5}}` + "\n",
			"A1 C/3":                            `{"dataset":"prices","version":3,"key":"A1","value":{"sku":"A1","price":6}}` + "\n" + `{"dataset":"prices","version":3,"key":"C/3","value":{"sku":"C/3","price":1}}` + "\n",
			"B2 --version 2 -o json --server x": `{"dataset":"prices","version":2,"key":"B2","value":{"sku":"B2","price":7}}` + "\n",
		} {
			r := f.run(t, append([]string{"get", "prices"}, strings.Fields(args)...)...)
			if r.code != exit.OK || r.out != want || r.err != "" {
				t.Errorf("get prices %s: %+v, want %s", args, r, want)
			}
		}
		r := f.run(t, "get", "prices", "no", "A1", "..", "--version", "2")
		r.want(t, exit.NotFound, `stdout:"key":"A1"`, `stderr:version 2 of dataset prices has no record with the key "no"`, `stderr:"..`)
		f.run(t, "get", "prices", "A1", "--version", "4").want(t, exit.NotFound, "stderr:dataset prices has no version 4; it has the versions 1 to 3")
		f.run(t, "get", "pirces", "A1", "--version", "1").want(t, exit.NotFound, "stderr:did you mean prices?")
	})
	t.Run("keys", func(t *testing.T) {
		sorted := func(args ...string) string {
			r := f.run(t, append([]string{"keys", "prices"}, args...)...)
			r.want(t, exit.OK)
			lines := strings.Fields(r.out)
			slices.Sort(lines)
			return strings.Join(lines, " ")
		}
		for want, args := range map[string][]string{
			"A1 C/3": nil, "A1 B2": {"--version", "1"}, "C/3": {"--prefix", "C"}, "": {"--prefix", "x"}, `{"key":"A1"}`: {"--prefix", "A", "-o", "json"},
		} {
			if got := sorted(args...); got != want {
				t.Errorf("keys %v: %s, want %s", args, got, want)
			}
		}
		r := f.run(t, "keys", "prices", "--limit", "1")
		if r.want(t, exit.OK, "stderr:there are more keys; --limit 0 lists all"); strings.Count(r.out, "\n") != 1 {
			t.Errorf("--limit 1 prints %q", r.out)
		}
		f.run(t, "keys", "prices", "--limit", "2").want(t, exit.OK, "!more keys")
		f.run(t, "keys", "price").want(t, exit.NotFound, "stderr:did you mean prices?")
		f.run(t, "keys", "prices", "--version", "9").want(t, exit.NotFound, "stderr:versions 1 to 3")
	})
	t.Run("diff", func(t *testing.T) {
		r := f.run(t, "diff", "prices", "1", "2")
		r.want(t, exit.OK, `stdout:+ C/3 {"sku":"C/3","price":1}`, "stdout:~ A1 price: 5 -> 6", "stdout:prices version 1 to 2: 1 added, 1 changed, 0 removed", "!B2")
		f.run(t, "diff", "prices", "3", "1").want(t, exit.OK, `stdout:+ B2 {"sku":"B2","price":7}`, "stdout:~ A1 price: 6 -> 5", "stdout:- C/3", "stdout:1 added, 1 changed, 1 removed")
		stat := f.run(t, "diff", "prices", "1", "3", "--stat")
		if stat.want(t, exit.OK, "stdout:prices version 1 to 3: 1 added, 1 changed, 1 removed"); strings.Count(stat.out, "\n") != 1 {
			t.Errorf("--stat prints %q", stat.out)
		}
		f.run(t, "diff", "prices", "2", "2").want(t, exit.OK, "stdout:0 added, 0 changed, 0 removed")
		r = f.run(t, "diff", "prices", "1", "3", "--limit", "1")
		if r.want(t, exit.OK, "stderr:there are more changes; --limit 0 shows all"); strings.Count(r.out, "\n") != 1 {
			t.Errorf("--limit 1 prints %q", r.out)
		}
		r = f.run(t, "diff", "prices", "2", "3", "-o", "json")
		r.want(t, exit.OK)
		first, last, _ := strings.Cut(r.out, "\n")
		var end publisher.Diff
		if err := json.Unmarshal([]byte(last), &end); err != nil || !end.End || end.Removed != 1 || first != `{"op":"removed","key":"B2","old":{"sku":"B2","price":7}}` {
			t.Errorf("%v in %s", err, r.out)
		}
		f.run(t, "diff", "prices", "2", "3", "--stat", "-o", "json").want(t, exit.OK, `stdout:"removed":1`)
		f.run(t, "diff", "prices", "2", "9").want(t, exit.NotFound, "stderr:versions 1 to 3")
		f.run(t, "diff", "prizes", "1", "2").want(t, exit.NotFound, "stderr:did you mean prices?")
	})
	t.Run("history", func(t *testing.T) {
		r := f.run(t, "history", "prices", "B2")
		lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
		if r.want(t, exit.OK); len(lines) != 3 || !strings.HasPrefix(lines[0], "version  committed") {
			t.Fatalf("history prints\n%s", r.out)
		}
		for i, want := range []string{`3 removed {"sku":"B2","price":7}`, `1 added {"sku":"B2","price":7}`} {
			if got := strings.Fields(lines[i+1]); strings.Join(slices.Delete(got, 1, 3), " ") != want {
				t.Errorf("line %d of\n%s\nwant %s", i+1, r.out, want)
			}
		}
		f.run(t, "history", "prices", "A1").want(t, exit.OK, "stdout:price: 5 -> 6")
		f.run(t, "history", "prices", "A1", "--limit", "2", "-o", "json").want(t, exit.OK, `stdout:"op":"changed"`, `stdout:"members":["price"]`, `!"added"`, "stderr:versions below 2 were not read; --limit 0 reads all")
		f.run(t, "history", "prices", "A1", "--limit", "0", "-o", "json").want(t, exit.OK, `stdout:"op":"added"`, "!not read")
		f.run(t, "history", "prices", "A1", "--limit", "1").want(t, exit.OK, "!A1", "stderr:versions below 3")
		f.run(t, "history", "prices", "no").want(t, exit.NotFound, `stderr:no version of dataset prices ever had a record with the key "no"`)
		f.run(t, "history", "pricess", "A1").want(t, exit.NotFound, "stderr:did you mean prices?")
	})
	t.Run("size", func(t *testing.T) {
		f.run(t, "size", "prices").want(t, exit.OK, "stdout:prices version 3: 2 records", "stdout:memory of an instance: about", "stdout:version  committed")
		f.run(t, "size", "prices", "--version", "1", "--last", "1").want(t, exit.OK, "stdout:prices version 1: 2 records")
		var size publisher.Size
		r := f.run(t, "size", "prices", "-o", "json")
		if err := json.Unmarshal([]byte(r.out), &size); err != nil || size.Version != 3 || len(size.Growth) != 3 || size.TableBytes == 0 {
			t.Errorf("%v in %s", err, r.out)
		}
		f.run(t, "size", "prices", "--version", "7").want(t, exit.NotFound, "stderr:versions 1 to 3")
		f.run(t, "size", "rices").want(t, exit.NotFound, "stderr:did you mean prices?")
	})
	f.run(t, "versions", "pirces").want(t, exit.NotFound, "stderr:did you mean prices?")
	t.Run("export", func(t *testing.T) { exportAndPublish(t, f) })
}

// exportAndPublish publishes exported versions again: the state checksums are the same.
func exportAndPublish(t *testing.T, f freshet) {
	state := func(version int) dataset.Checksum {
		var all []dataset.VersionRecord
		r := f.run(t, "versions", "prices", "-o", "json")
		if err := json.Unmarshal([]byte(r.out), &all); err != nil {
			t.Fatal(err)
		}
		return all[len(all)-version].State
	}
	for version, lines := range map[int]int{1: 2, 2: 3} {
		r := f.run(t, "export", "prices", "--version", fmt.Sprint(version))
		r.want(t, exit.OK, fmt.Sprintf("stderr:exported %d records of prices version %d; their key is in the member sku", lines, version))
		want := state(version)
		again := run(t.Context(), f.env, r.out, "publish", "prices", "-", "--key", "sku", "-o", "json")
		again.want(t, exit.OK, "stdout:"+want.String())
	}
	f.run(t, "export", "prices", "--version", "1", "--key", "sku").want(t, exit.OK, `stdout:{"sku":"A1","price":5}`)
	f.run(t, "export", "prices", "--key", "price").want(t, exit.Failure, "!stdout:{", "stderr:cannot be written so that a publish reads it back", "stderr:--output json")
	r := f.run(t, "export", "prices", "--version", "1", "-o", "json")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	slices.Sort(lines)
	if want := []string{`{"key":"A1","value":{"sku":"A1","price":5}}`, `{"key":"B2","value":{"sku":"B2","price":7}}`}; !slices.Equal(lines, want) || r.err != "" {
		t.Errorf("%q, want %q: %s", lines, want, r.err)
	}
	f.run(t, "export", "prices", "--version", "99").want(t, exit.NotFound, "stderr:dataset prices has no version 99", "!stdout:freshet")
	f.run(t, "export", "pricse").want(t, exit.NotFound, "stderr:did you mean prices?")
}

func TestReadUsage(t *testing.T) {
	for _, c := range []struct {
		want string // in the one message on stderr
		args []string
	}{
		{"not a dataset name", []string{"keys", "Prices"}},
		{"not a dataset name", []string{"export", "Prices"}},
		{"not a dataset name", []string{"diff", "Prices", "1", "2"}},
		{"not a dataset name", []string{"history", "Prices", "A1"}},
		{"not a dataset name", []string{"size", "Prices"}},
		{"--version 0: want 1 or more", []string{"get", "prices", "A1", "--version", "0"}},
		{"--version 0: want 1 or more", []string{"keys", "prices", "--version", "0"}},
		{"--version 0: want 1 or more", []string{"export", "prices", "--version", "0"}},
		{"--version 0: want 1 or more", []string{"size", "prices", "--version", "0"}},
		{"--limit -1: want 1 or more, or 0 for all", []string{"keys", "prices", "--limit", "-1"}},
		{"--limit -1: want 1 or more, or 0 for all", []string{"diff", "prices", "1", "2", "--limit", "-1"}},
		{"--limit -1: want 1 or more, or 0 for all", []string{"history", "prices", "A1", "--limit", "-1"}},
		{"--last 0: want 1 to 1000", []string{"size", "prices", "--last", "0"}},
		{`"x" is no version`, []string{"diff", "prices", "x", "2"}},
		{`"0" is no version`, []string{"diff", "prices", "1", "0"}},
		{"accepts 3 arg(s)", []string{"diff", "prices", "1"}},
		{"requires at least 2 arg", []string{"get", "prices"}},
		{"--stat counts all changes", []string{"diff", "prices", "1", "2", "--stat", "--limit", "3"}},
		{"--key is for text output", []string{"export", "prices", "--key", "sku", "-o", "json"}},
		{"the key is empty", []string{"history", "prices", ""}},
		{"not a URL of a publisher", []string{"keys", "prices", "--publisher", "127.0.0.1:8480"}},
		{"not a URL of a publisher", []string{"get", "prices", "A1", "--version", "1", "--publisher", "127.0.0.1:8480"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r := run(t.Context(), nil, "", c.args...)
			r.want(t, exit.Usage, "stderr:"+c.want)
			if r.out != "" || strings.Count(r.err, "\n") != 1 {
				t.Errorf("stdout %q, stderr %q: want one line on stderr", r.out, r.err)
			}
		})
	}
	for _, name := range []string{"keys", "export", "diff", "history", "size"} {
		run(t.Context(), nil, "", name, "--help").want(t, exit.OK, "stdout:Usage:", "stdout:Examples:", "stdout:freshet "+name, "!(default 0)", "!(default )")
	}
}

// TestReadsThatBreak has answers that end early: the command fails, and a publish takes no part of an export.
func TestReadsThatBreak(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		cut  bool // the connection breaks after body
		want string
	}{
		"cut":              {`{"sku":"A1"}` + "\n", true, "incomplete"},
		"cut in a record":  {`{"sku":"A1"}` + "\n" + `{"sku":"B`, true, "incomplete"},
		"cut with a line":  {`{"sku":"A1"}` + "\n" + publisher.IncompleteLine + "object 123 is lost\n", true, "object 123 is lost"},
		"cut at the start": {"", true, "incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Freshet-Version", "3")
				w.WriteHeader(http.StatusOK)
				_, _ = w.Write([]byte(c.body))
				_ = http.NewResponseController(w).Flush()
				if c.cut {
					panic(http.ErrAbortHandler)
				}
			}))
			defer server.Close()
			env := map[string]string{"FRESHET_PUBLISHER_URL": server.URL}
			r := run(t.Context(), env, "", "export", "prices")
			r.want(t, exit.Failure, "stderr:the export of prices version 3 is incomplete", "stderr:"+c.want, "stdout:"+publisher.IncompleteLine)
			lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
			if last := lines[len(lines)-1]; json.Valid([]byte(last)) || !strings.HasPrefix(last, publisher.IncompleteLine) {
				t.Errorf("the export ends with %q", last)
			}
			run(t.Context(), env, "", "diff", "prices", "1", "2").want(t, exit.Failure)
		})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Freshet-Version", "3")
		_, _ = w.Write([]byte(`{"op":"added","key":"A1","new":5}` + "\n" + `{"problem":{"type":"x","title":"y","status":500,"detail":"object 123 is lost"}}` + "\n"))
	}))
	defer server.Close()
	env := map[string]string{"FRESHET_PUBLISHER_URL": server.URL}
	run(t.Context(), env, "", "diff", "prices", "1", "2").want(t, exit.Failure, "stdout:+ A1 5", "stderr:object 123 is lost")
}

func TestTextOfChanges(t *testing.T) {
	long := strings.Repeat("é", 150)
	for line, want := range map[string]string{
		`{"op":"added","key":"a","new":5}`:                                         `5`,
		`{"op":"added","key":"a","new_text":"two\nlines"}`:                         `"two\nlines"`,
		`{"op":"removed","key":"a","old_base64":"/wA="}`:                           `"\xff\x00"`,
		`{"op":"changed","key":"a","old":{"x":1,"y":2},"new":{"y":3,"z":"q"}}`:     `x: 1 -> (none), y: 2 -> 3, z: (none) -> "q"`,
		`{"op":"changed","key":"a","old":{"x":1},"new_text":"x"}`:                  `"x"`,
		`{"op":"changed","key":"a","old":{"x":1},"new":{"x": 1}}`:                  `{"x": 1}`,
		`{"op":"changed","key":"a","old":{"a b":1,"\n":1},"new":{"a b":2,"\n":2}}`: `a b: 1 -> 2, "\n": 1 -> 2`,
		`{"op":"added","key":"a","new":"` + long + `"}`:                            `"` + strings.Repeat("é", 99) + "...",
	} {
		var c change
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if got := c.text(); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	for key, want := range map[string]string{"A1": "A1", "a b": "a b", "é": "é", "\xff": `"\xff"`, "a\n": `"a\n"`, `"q"`: `"\"q\""`} {
		if got := keyText([]byte(key)); got != want {
			t.Errorf("%q: %s, want %s", key, got, want)
		}
	}
}

// TestReadALostObject has objects missing in the store: the command names one, and putting it back is enough.
func TestReadALostObject(t *testing.T) {
	folder := t.TempDir()
	s, err := storeurl.Open(t.Context(), "dir://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := publisher.New(publisher.Config{
		Listen: "127.0.0.1:0", StoreURL: settings.URL("dir://" + folder), NatsURL: "nats://127.0.0.1:4222", TempDir: t.TempDir(), MemoryBytes: 8 << 20,
		MaxDeltas: 32, MaxDeltaPercent: 50, CompactEvery: time.Hour, BeaconEvery: time.Minute, Publishes: 2, Patches: 2, Reads: 2,
		BodyBytes: 1 << 20, TextBytes: 1 << 20, BodyStall: 10 * time.Second, BodyRate: 1, BodyTime: time.Minute,
	}, publisher.Deps{Store: s, Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	defer server.Close()
	f := freshet{env: map[string]string{"FRESHET_PUBLISHER_URL": server.URL}}
	for _, text := range []string{oldPrices, newPrices} {
		f.run(t, "publish", "prices", file(t, "prices.ndjson", text), "--key", "sku").want(t, exit.OK)
	}
	objects, err := filepath.Glob(filepath.Join(folder, "objects", "*", "*"))
	if err != nil || len(objects) == 0 {
		t.Fatalf("%v: %v", objects, err)
	}
	aside := t.TempDir()
	for _, path := range objects {
		if err := os.Rename(path, filepath.Join(aside, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"get", "prices", "A1", "--version", "1"}, {"keys", "prices"}, {"export", "prices"}, {"history", "prices", "A1"}} {
		f.run(t, args...).want(t, exit.Failure, "stderr:of dataset prices cannot be read", "stderr:"+folder, "stderr:put back a good copy of the object")
	}
	for _, path := range objects {
		if err := os.Rename(filepath.Join(aside, filepath.Base(path)), path); err != nil {
			t.Fatal(err)
		}
	}
	f.run(t, "get", "prices", "A1", "--version", "1").want(t, exit.OK, `stdout:{"sku":"A1","price":5}`)
	f.run(t, "history", "prices", "A1").want(t, exit.OK, "stdout:price: 5 -> 6")
}
