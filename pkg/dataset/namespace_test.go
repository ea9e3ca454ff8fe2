package dataset_test

import (
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

func TestCheckNamespace(t *testing.T) {
	for _, good := range []string{"", "a", "0", "prod", "prod-eu_2", "versions", strings.Repeat("a", 32)} {
		if err := dataset.CheckNamespace(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, why := range map[string]string{
		"Prod": `'P' at byte 1`, "-a": `'-' at byte 1`, "_": `'_' at byte 1`, "a.b": `'.' at byte 2`, "*": `'*'`, ">": `'>'`,
		"a b": `' '`, "a}": `'}'`, "a/b": `'/'`, "ä": "at byte 1", strings.Repeat("a", 33): "33 bytes, the most is 32",
	} {
		if err := dataset.CheckNamespace(bad); !errors.Is(err, dataset.ErrNamespace) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %v, want %s", bad, err, why)
		}
	}
}

// TestTheDefaultNamespaceHasTheOldSubjects pins the roots: with another root, new and old releases would not receive each
// other's messages.
func TestTheDefaultNamespaceHasTheOldSubjects(t *testing.T) {
	if got := dataset.SubjectRoot(""); got != "freshet.v1." {
		t.Errorf("the default namespace's subjects begin with %s", got)
	}
	if got := dataset.SubjectRoot("prod"); got != "freshet.v1.ns.prod." {
		t.Errorf("those of prod begin with %s", got)
	}
}
