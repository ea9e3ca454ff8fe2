package nearest

import (
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	known := []string{"min_records", "max_records", "max_fewer_records_percent", "max_fewer_bytes_percent", "eu"}
	for name, want := range map[string][]string{
		"min_record":  {"min_records"},
		"mix_records": {"max_records", "min_records"},
		"max_fewer":   {"max_fewer_bytes_percent", "max_fewer_records_percent"},
		"max_records": {"max_records", "min_records"},
		"us":          nil,
		"ex":          {"eu"},
		"nothing":     nil,
		"":            nil,
	} {
		got := Names(name, known)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q may mean %q, want %q", name, got, want)
		}
	}
	if got := Names("mx_records", known)[0]; got != "max_records" {
		t.Errorf("the nearest to mx_records is %s", got)
	}
	if got := Names("a", []string{"ab", "ac", "ad", "ae"}); len(got) != 3 {
		t.Errorf("%q", got)
	}
}

func TestHint(t *testing.T) {
	if got := Hint("pric", []string{"prices", "cities"}); got != " (did you mean prices?)" {
		t.Errorf("%q", got)
	}
	if got := Hint("rules", []string{"prices", "cities"}); got != "" {
		t.Errorf("%q", got)
	}
}
