package index_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/index"
)

// scan returns the keys of the records whose member passes keep, in the order of (member, key).
func scan(m records, member string, keep func(any) bool) []string {
	type found struct {
		value any
		key   string
	}
	var all []found
	for key, text := range m {
		var object map[string]any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if d.Decode(&object) != nil {
			continue
		}
		value, ok := object[member]
		switch value.(type) {
		case string, bool, json.Number:
		default:
			continue
		}
		if ok && keep(value) {
			all = append(all, found{value, key})
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		if c := compare(a.value, b.value); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	keys := []string{}
	for _, f := range all {
		keys = append(keys, f.key)
	}
	return keys
}

func rank(v any) int {
	switch v.(type) {
	case bool:
		return 0
	case json.Number:
		return 1
	}
	return 2
}

// compare compares two values as the documentation of the package says.
func compare(a, b any) int {
	if rank(a) != rank(b) {
		return rank(a) - rank(b)
	}
	switch a := a.(type) {
	case bool:
		switch {
		case a == b.(bool):
			return 0
		case a:
			return 1
		}
		return -1
	case json.Number:
		return number(string(a)).Cmp(number(string(b.(json.Number))))
	}
	return strings.Compare(a.(string), b.(string))
}

func number(text string) *big.Rat {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic("no number: " + text)
	}
	return r
}

// value returns the index's form of a value.
func value(t fataler, v any) index.Value {
	switch v := v.(type) {
	case bool:
		return index.Bool(v)
	case json.Number:
		n, err := index.Number(string(v))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return index.Text(v.(string))
}

var (
	someNumbers = []string{
		"0", "-0", "0.0e5", "1", "1.0", "10e-1", "0.1e1", "100e-2", "12", "-12", "1.2e1", "9007199254740993", "9007199254740992", "1e31", "1e32", "-1e31",
		"1e-31", "1e-40", "-1e-40", "123456789012345678901234567890", "123456789012345678901234567891", "0.5", "-0.5", "0.05", "5e-1", "99", "99.01", "-99.01",
	}
	someTexts = []string{
		"", "a", "ab", "abc", "b", "\x00", "a\x00", "a\x00b", "\x01", "a\x01", "é", "1", "true", strings.Repeat("long", 8), strings.Repeat("long", 8) + "1",
		strings.Repeat("long", 9), "\U0010ffff",
	}
)

// drawn draws values of the member of a record.
var drawn = rapid.Custom(func(t *rapid.T) any {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return rapid.Bool().Draw(t, "boolean")
	case 1:
		return json.Number(fmt.Sprintf("%de%d", rapid.IntRange(-1200, 1200).Draw(t, "digits"), rapid.IntRange(-4, 4).Draw(t, "exponent")))
	case 2, 3:
		return json.Number(rapid.SampledFrom(someNumbers).Draw(t, "number"))
	case 4, 5:
		return rapid.SampledFrom(someTexts).Draw(t, "text")
	case 6:
		return strings.Repeat(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "letter"), rapid.IntRange(0, 3).Draw(t, "length"))
	case 7:
		return nil
	case 8:
		return []any{"array"}
	}
	return strings.Repeat("too long", 70)
})

// drawnRecord draws the value of a record with two members.
var drawnRecord = rapid.Custom(func(t *rapid.T) string {
	object := map[string]any{"filler": "x"}
	for _, name := range []string{"a", "b"} {
		if rapid.IntRange(0, 5).Draw(t, "missing") > 0 {
			object[name] = drawn.Draw(t, name)
		}
	}
	if rapid.IntRange(0, 20).Draw(t, "not JSON") == 0 {
		return "text"
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
})

// After random deltas and full loads, every lookup finds what a scan of the records finds.
func TestAgainstScans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := records{}
		change := func() (set records, removed []string) {
			set = records{}
			for range rapid.IntRange(0, 30).Draw(t, "changes") {
				set[fmt.Sprintf("key%d", rapid.IntRange(0, 60).Draw(t, "key"))] = drawnRecord.Draw(t, "record")
			}
			for _, key := range slices.Sorted(maps.Keys(content)) {
				if _, ok := set[key]; !ok && rapid.IntRange(0, 9).Draw(t, "remove") == 0 {
					removed = append(removed, key)
				}
			}
			maps.Copy(content, set)
			for _, key := range removed {
				delete(content, key)
			}
			return set, removed
		}
		change()
		set := build(t, load(t, 1, content), "a", "b^")
		for range rapid.IntRange(1, 4).Draw(t, "versions") {
			if rapid.IntRange(0, 3).Draw(t, "full") == 0 {
				change()
				set = build(t, load(t, set.Table().Version()+1, content), "a", "b^")
			} else {
				added, removed := change()
				set = follow(t, set, patch(t, set.Table(), added, removed))
			}
			compareLookups(t, set, content)
		}
	})
}

// compareLookups compares lookups of set with scans of its content.
func compareLookups(t *rapid.T, set *index.Set, content records) {
	same := func(what string, want []string, conditions ...index.Condition) {
		t.Helper()
		if got := keys(t, set, conditions...); !slices.Equal(got, want) {
			t.Fatalf("%s: found %q, want %q", what, got, want)
		}
		limits := index.Limits{Records: rapid.IntRange(0, 3).Draw(t, "records"), Bytes: rapid.IntRange(0, 90).Draw(t, "bytes"), Reads: rapid.IntRange(0, 4).Draw(t, "reads")}
		if got := pages(t, set, limits, conditions...); !slices.Equal(got, want) {
			t.Fatalf("%s in pages of %+v: found %q, want %q", what, limits, got, want)
		}
	}
	single := rapid.Custom(func(t *rapid.T) any {
		return rapid.OneOf(
			rapid.Map(rapid.SampledFrom(someTexts), func(s string) any { return s }),
			rapid.Map(rapid.SampledFrom(someNumbers), func(s string) any { return json.Number(s) }),
			rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		).Draw(t, "value")
	})
	for range 5 {
		v, low, high := single.Draw(t, "equal"), single.Draw(t, "low"), single.Draw(t, "high")
		isV := func(x any) bool { return compare(x, v) == 0 }
		between := func(x any) bool {
			return rank(x) == rank(low) && rank(x) == rank(high) && compare(x, low) >= 0 && compare(x, high) <= 0
		}
		least := func(x any) bool { return rank(x) == rank(low) && compare(x, low) >= 0 }
		short := func(keep func(any) bool) func(any) bool { // an ordered index has no long texts
			return func(x any) bool { s, ok := x.(string); return keep(x) && (!ok || len(s) < 500) }
		}
		lowest, highest := []index.Value{value(t, low)}, []index.Value{value(t, high)}
		same(fmt.Sprintf("a = %v", v), scan(content, "a", isV), index.Equal("a", value(t, v)))
		same(fmt.Sprintf("b = %v", v), scan(content, "b", isV), index.Equal("b", value(t, v)))
		same(fmt.Sprintf("%v <= b <= %v", low, high), scan(content, "b", short(between)), index.Between("b", lowest, highest))
		same(fmt.Sprintf("%v <= b", low), scan(content, "b", short(least)), index.Between("b", lowest, nil))
		prefix := rapid.SampledFrom([]string{"", "a", "a\x00", "x", "xx", "é", "long"}).Draw(t, "prefix")
		same(fmt.Sprintf("b begins with %q", prefix), scan(content, "b", short(func(x any) bool {
			s, ok := x.(string)
			return ok && strings.HasPrefix(s, prefix)
		})), index.Prefix("b", prefix))
		both := scan(content, "a", isV)
		inRange := scan(content, "b", short(least))
		both = slices.DeleteFunc(both, func(key string) bool { return !slices.Contains(inRange, key) })
		conditions := []index.Condition{index.Between("b", lowest, nil), index.Equal("a", value(t, v))}
		got := keys(t, set, conditions...)
		slices.Sort(got)
		slices.Sort(both)
		if !slices.Equal(got, both) {
			t.Fatalf("a = %v and %v <= b: found %q, want %q", v, low, got, both)
		}
		inPages := pages(t, set, index.Limits{Records: 2, Reads: 3}, conditions...)
		if slices.Sort(inPages); !slices.Equal(inPages, both) {
			t.Fatalf("a = %v and %v <= b in pages: found %q, want %q", v, low, inPages, both)
		}
	}
}
