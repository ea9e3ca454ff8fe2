package index_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"weak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/table"
)

func TestParseSpec(t *testing.T) {
	for text, want := range map[string]index.Spec{
		"country":        {Kind: index.Equality, Member: "country"},
		"name^":          {Kind: index.Ordered, Member: "name"},
		"in.name^":       {Kind: index.Ordered, Member: "in.name"},
		`name\^`:         {Kind: index.Equality, Member: `name\^`},
		`name\\^`:        {Kind: index.Ordered, Member: `name\\`},
		"cidr/ip":        {Kind: index.Network, Member: "cidr"},
		"from..to/ip":    {Kind: index.AddressRange, Member: "from", Last: "to"},
		"a.from..a.t/ip": {Kind: index.AddressRange, Member: "a.from", Last: "a.t"},
		"first-last/ip":  {Kind: index.Network, Member: "first-last"},
		"a:b":            {Kind: index.Equality, Member: "a:b"},
	} {
		got, err := index.ParseSpec(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q is %+v, as a text %q, %v; want %+v", text, got, got, err, want)
		}
	}
	for _, text := range []string{"", "^", "/ip", "a..b", "a..", "..b/ip", "a../ip", "a..b..c/ip", ".a", "a.^"} {
		if got, err := index.ParseSpec(text); !errors.Is(err, index.ErrSpec) {
			t.Errorf("%q is %+v, %v; want an error", text, got, err)
		}
	}
}

func TestParse(t *testing.T) {
	got, err := index.Parse([]string{"cities:country", "cities:name^", "ranges:cidr/ip"})
	if err != nil || len(got) != 2 || len(got["cities"]) != 2 || got["ranges"][0].Kind != index.Network {
		t.Errorf("%v, %v", got, err)
	}
	for item, want := range map[string]string{
		"cities":                     `"cities": want DATASET:MEMBER`,
		"Cities:a":                   `"Cities:a": not a dataset name`,
		"cities:a..b":                `dataset cities: unusable index "a..b"`,
		"cities:a,cities:a^":         `dataset cities: unusable index: "a" and "a^" are on the same member; leave one out (a^ answers equality too)`,
		"ranges:a/ip,ranges:a..b/ip": "",
	} {
		_, err := index.Parse(strings.Split(item, ","))
		if want == "" && err != nil || want != "" && (!errors.Is(err, index.ErrSpec) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", item, err, want)
		}
	}
}

func TestLookupErrors(t *testing.T) {
	set := build(t, load(t, 1, records{"k": `{"a":1,"b":2,"net":"10.0.0.0/8","x":"::","y":"::1"}`}), "a", "b^", "net/ip", "x..y/ip")
	ip := netip.MustParseAddr("::1")
	for _, c := range []struct {
		is         error
		text       string
		conditions []index.Condition
	}{
		{index.ErrNoIndex, `"c"`, []index.Condition{index.Equal("c", index.Int(1))}},
		{index.ErrCondition, "declare a^", []index.Condition{index.Prefix("a", "x")}},
		{index.ErrCondition, "declare a^", []index.Condition{index.Between("a", nil, nil)}},
		{index.ErrCondition, "declare a/ip", []index.Condition{index.Around("a", ip)}},
		{index.ErrCondition, "around an address", []index.Condition{index.Equal("net", index.Text("10.0.0.0/8"))}},
		{index.ErrCondition, "one address, for net or for x..y", []index.Condition{index.Around("net", ip), index.Around("x..y", ip)}},
		{index.ErrCondition, "no condition", nil},
	} {
		if _, err := set.Find(c.conditions...); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v, want %v with %q", err, c.is, c.text)
		}
	}
	for _, cursor := range []string{"x", "!", "AWE", "AWHAMQA", strings.Repeat("A", 10_000)} {
		if _, err := set.FindAfter(cursor, index.Between("b", nil, nil)); !errors.Is(err, index.ErrCursor) {
			t.Errorf("cursor %.20q: %v", cursor, err)
		}
	}
	for _, text := range []string{"", "01", "1.", ".1", "1e", "+1", "0x1", "NaN", "1e99999999999", "-"} {
		if n, err := index.Number(text); !errors.Is(err, index.ErrValue) {
			t.Errorf("%q is the number %v", text, n)
		}
	}
}

// A record that an index lacks is counted by the reason and named, until a version corrects or removes it.
func TestLackingRecords(t *testing.T) {
	content := records{
		"good": `{"a":"x","net":"10.0.0.0/8"}`, "array": `{"a":[],"net":"10.0.0.0/99"}`, "long": fmt.Sprintf(`{"a":%q,"net":1}`, strings.Repeat("x", 600)),
		"none": `{}`, "null": `{"a":null}`,
	}
	set := build(t, load(t, 1, content), "a^", "net/ip")
	want := []string{
		`version 1: index a^ lacks 1 records, wrong kind, such as "array"`, `index a^ lacks 1 records, too long, such as "long"`,
		`index net/ip lacks 1 records, wrong kind, such as "long"`, `index net/ip lacks 1 records, no address, such as "array"`,
	}
	if err := set.Err(); err == nil || err.Error() != strings.Join(want, "; ") {
		t.Errorf("the error is %v", err)
	}
	if st := set.Stats()[0]; st.Records != 1 || len(st.Lacking) != 3 || st.Lacking[0] != (index.Lacking{Reason: index.Missing, Records: 2}) {
		t.Errorf("%+v", st)
	}
	set = follow(t, set, patch(t, set.Table(), records{"array": `{"a":2,"net":"::/0"}`}, []string{"long"}))
	if err := set.Err(); err != nil {
		t.Errorf("all records are right, and the error is %v", err)
	}
	set = follow(t, set, patch(t, set.Table(), nil, []string{"good", "array"}))
	if err := set.Err(); err == nil || err.Error() != "version 3: no record has what index a^ is on; no record has what index net/ip is on" {
		t.Errorf("no record has the members, and the error is %v", err)
	}
}

// A page of a later version goes on after the last record of the page before.
func TestPagesAcrossVersions(t *testing.T) {
	content := records{}
	for i := range 10 {
		content[fmt.Sprintf("k%d", i)] = fmt.Sprintf(`{"n":%d}`, i)
	}
	set := build(t, load(t, 1, content), "n^")
	all := index.Between("n", nil, nil)
	m, err := set.FindAfter("", all)
	if err != nil {
		t.Fatal(err)
	}
	page, cursor := m.Page(index.Limits{Records: 4})
	if len(page) != 4 || string(page[3].Key) != "k3" {
		t.Fatalf("%q", page)
	}
	// The last record of the page is removed, one before it comes, and one after it moves before it.
	set = follow(t, set, patch(t, set.Table(), records{"new": `{"n":1}`, "k8": `{"n":2}`, "late": `{"n":3.5}`}, []string{"k3", "k9"}))
	if m, err = set.FindAfter(cursor, all); err != nil {
		t.Fatal(err)
	}
	var got []string
	for match := range m.All() {
		got = append(got, string(match.Key))
	}
	if want := []string{"late", "k4", "k5", "k6", "k7"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// Invariant: a set has its own table in memory and no earlier one, whatever part of it deltas have replaced.
func TestReplacedTablesAreFreed(t *testing.T) {
	content := records{}
	for i := range 5000 {
		content[fmt.Sprintf("key%d", i)] = fmt.Sprintf(`{"a":"value %d","net":"10.0.%d.%d/32","bad":[]}`, i, i/256, i%256)
	}
	set := build(t, load(t, 1, content), "a^", "net/ip", "bad")
	var old []weak.Pointer[table.Table]
	for i := range 5 {
		old = append(old, weak.Make(set.Table()))
		set = follow(t, set, patch(t, set.Table(), records{fmt.Sprintf("key%d", i): `{"a":"other","net":"::1"}`}, []string{fmt.Sprintf("key%d", 100+i)}))
	}
	// A table that shares nothing with those before: their slabs go with them.
	slab, _ := set.Table().Get([]byte("key4999"))
	weakSlab := weak.Make(&slab[0])
	slab = nil
	old = append(old, weak.Make(set.Table()))
	fresh := load(t, 10, content)
	next, err := set.Apply(background, fresh, dataset.VersionID{}, table.Diff(set.Table(), fresh))
	if err != nil {
		t.Fatal(err)
	}
	set = next
	next = nil
	for range 3 { // what a pool has goes with the second
		runtime.GC()
	}
	for i, p := range old {
		if p.Value() != nil {
			t.Errorf("the table of step %d is in memory", i)
		}
	}
	if weakSlab.Value() != nil {
		t.Error("a slab of a replaced table is in memory")
	}
	if got := keys(t, set, index.Equal("a", index.Text("value 4999"))); !slices.Equal(got, []string{"key4999"}) {
		t.Errorf("found %q", got)
	}
}

// Readers see one version each, while versions follow one another.
func TestReadersDuringUpdates(t *testing.T) {
	version := func(v int) records {
		set := records{}
		for i := range 300 {
			set[fmt.Sprintf("key%d", i)] = fmt.Sprintf(`{"v":%d,"group":"g%d"}`, v, i%3)
		}
		return set
	}
	current := make(chan *index.Set, 1)
	current <- build(t, load(t, 1, version(0)), "v^", "group")
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				case set := <-current:
					current <- set
					v := int64(set.Table().Version() - 1)
					if n := len(keys(t, set, index.Equal("v", index.Int(v)))); n != 300 {
						t.Errorf("version %d has %d records of itself", v+1, n)
					}
					if n := len(keys(t, set, index.Equal("group", index.Text("g1")), index.Between("v", []index.Value{index.Int(v)}, nil))); n != 100 {
						t.Errorf("version %d has %d records in the group", v+1, n)
					}
				}
			}
		})
	}
	set := <-current
	current <- set
	for v := 1; v < 30; v++ {
		set = follow(t, set, patch(t, set.Table(), version(v), nil))
		<-current
		current <- set
	}
	close(done)
	readers.Wait()
}

func TestBuildEndsWithItsContext(t *testing.T) {
	content := records{}
	for i := range 300 {
		content[fmt.Sprint(i)] = `{"a":1}`
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := compile(t, "a").Build(ctx, load(t, 1, content), dataset.VersionID{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
