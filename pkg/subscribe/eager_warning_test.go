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
	view, err := subscribe.NewView(handle(s, "prices"), func(_, value []byte) (int, error) { return strconv.Atoi(string(value)) }, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	content := numbered(1)
	for version, change := range []records{
		{"a": "x", "b": "y", "c": "z"}, // all are wrong
		{"a": "1"},
		{"b": "1"},           // of the three c is left, whichever was named
		{"b": "y2"},          // another is wrong
		{"c": "1"},           // and the one before right
		{"c": "z2", "a": ""}, // three again
		{"c": "none"},        // of which one is removed
		{"b": "1"},
		{"a": "1"},
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
