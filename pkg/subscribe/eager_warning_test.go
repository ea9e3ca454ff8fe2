package subscribe_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"freshet.dev/pkg/subscribe"
)

// Invariant: the warning of an eager view counts the records that it could not decode in the version that it is at, and names
// one of those: never one that a later version put right or removed.
func TestWarningOfAnEagerViewFollowsTheRecords(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	view, err := subscribe.NewView(s, "prices", func(_, value []byte) (int, error) { return strconv.Atoi(string(value)) }, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	content := numbered(1)
	for version, change := range []records{
		{"a": "x", "b": "1"},             // a is wrong
		{"a": "x", "b": "y", "c": "z"},   // and b and c
		{"a": "1", "b": "y", "c": "z"},   // a is right
		{"a": "1", "b": "y2", "c": "1"},  // b is wrong otherwise, c right
		{"a": "1", "b": "1", "c": "z"},   // c alone
		{"a": "1", "b": "", "c": "z"},    // b and c, and then c is removed
		{"a": "1", "b": "", "c": "none"}, // so that b is left
		{"a": "1", "b": "1", "c": "1"},
	} {
		version := uint64(version + 1)
		maps.Copy(content, change)
		if content["c"] == "none" {
			delete(content, "c")
		}
		w.announce(w.commit("prices", version, content))
		await(t, "the view to follow", func() bool { return view.Version() == version })
		wrong := map[string]bool{}
		for key, value := range content {
			if _, err := strconv.Atoi(value); err != nil {
				wrong[key] = true
			}
		}
		warning := warningOf(t, s, "prices")
		if len(wrong) == 0 {
			if warning != "" {
				t.Errorf("version %d: all records are right, and the warning is %q", version, warning)
			}
			continue
		}
		if !strings.Contains(warning, fmt.Sprintf("could not decode %d records of version %d: ", len(wrong), version)) {
			t.Errorf("version %d: %d records are wrong, and the warning is %q", version, len(wrong), warning)
		}
		named := ""
		for key := range content {
			if strings.Contains(warning, fmt.Sprintf("decode record %q of", key)) {
				named = key
			}
		}
		if !wrong[named] || !strings.Contains(warning, fmt.Sprintf("parsing %q", content[named])) {
			t.Errorf("version %d: %v are wrong, and the warning is %q", version, wrong, warning)
		}
	}
}
