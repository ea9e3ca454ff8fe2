package dataset_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/dataset"
)

func TestJoinKey(t *testing.T) {
	for want, texts := range map[string][]string{
		"de:7":       {"de", "7"},
		"a:b~c":      {"a:b~c"}, // one text is the key itself
		"a~1b:~0":    {"a:b", "~"},
		"~01:x:y~1":  {"~1", "x", "y:"},
		"Größe:ß":    {"Größe", "ß"},
		"a~1:~1b:~1": {"a:", ":b", ":"},
	} {
		if got := dataset.JoinKey(texts...); got != want {
			t.Errorf("%q make the key %q, want %q", texts, got, want)
		}
	}
}

// splitKey reads a key of several texts back.
func splitKey(key string) (texts []string) {
	for text := range strings.SplitSeq(key, ":") {
		texts = append(texts, strings.ReplaceAll(strings.ReplaceAll(text, "~1", ":"), "~0", "~"))
	}
	return texts
}

// Invariants: no two rows of texts make the same key, and a key has the prefix of a row's first texts exactly if it begins with them.
func TestKeysOfSeveralTexts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab:~01é\x00")), 0, 4, -1)
		row := rapid.SliceOfN(text, 2, 3)
		a, b := row.Draw(rt, "a"), row.Draw(rt, "b")
		keyA, keyB := dataset.JoinKey(a...), dataset.JoinKey(b...)
		if (keyA == keyB) != slices.Equal(a, b) {
			rt.Errorf("%q and %q make %q and %q", a, b, keyA, keyB)
		}
		if strings.HasPrefix(keyB, dataset.JoinKey(a[0], "")) != (a[0] == b[0]) {
			rt.Errorf("%q has the prefix of %q", keyB, a[0])
		}
	})
}

func FuzzJoinKey(f *testing.F) {
	f.Add("de", "7")
	f.Add(":", "~")
	f.Add("~1", "\xff:")
	f.Fuzz(func(t *testing.T, a, b string) {
		key := dataset.JoinKey(a, b)
		if got := splitKey(key); !slices.Equal(got, []string{a, b}) {
			t.Fatalf("%q and %q make %q, which is %q", a, b, key, got)
		}
	})
}
