package nearest

import (
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	all := []string{"cities", "prices", "prices-eu", "prizes", "rules", "x"}
	for name, want := range map[string][]string{
		"pirces":    {"prices", "prizes"},
		"price":     {"prices"},
		"prices":    {"prizes"},
		"prices_eu": {"prices-eu", "prices"},
		"citys":     nil,
		"citie":     {"cities"},
		"y":         {"x"},
		"zzzzzz":    nil,
	} {
		if got := Names(name, all); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
