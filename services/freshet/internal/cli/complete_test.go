package cli

import (
	"slices"
	"strings"
	"testing"

	"freshet.dev/services/freshet/internal/exit"
)

// TestCompletion completes dataset names from the publisher and the server.
func TestCompletion(t *testing.T) {
	f := start(t, "prices", "rules")
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.run(t, "publish", "cities", file(t, "c.ndjson", oldPrices), "--key", "sku").want(t, exit.OK)
	for _, c := range []struct {
		args []string // the last is what the user has typed of the argument
		want []string // without the directive
	}{
		{[]string{"publish", ""}, []string{"cities", "prices"}},
		{[]string{"publish", "prices", ""}, nil},
		{[]string{"publish", "--wait", "--key", "sku", "p"}, []string{"cities", "prices"}},
		{[]string{"versions", ""}, []string{"cities", "prices"}},
		{[]string{"versions", "prices", ""}, nil},
		{[]string{"status", "--namespace", "", "prices", ""}, []string{"cities"}},
		{[]string{"get", ""}, []string{"prices", "rules"}}, // those of the instance
		{[]string{"get", "prices", ""}, nil},
		{[]string{"versions", "--output", ""}, []string{"json", "text"}},
		{[]string{"publish", "--format", ""}, []string{"auto", "csv", "json", "ndjson", "parquet"}},
		{[]string{"versions", "--publisher", "http://127.0.0.1:1", ""}, nil},
		{[]string{"sta"}, []string{"status"}},
	} {
		r := f.run(t, append([]string{"__completeNoDesc"}, c.args...)...)
		if r.code != exit.OK {
			t.Errorf("%q: %+v", c.args, r)
			continue
		}
		lines := strings.Fields(r.out)
		got := slices.Sorted(slices.Values(lines[:len(lines)-1]))
		if !slices.Equal(got, c.want) {
			t.Errorf("%q completes to %q, want %q", c.args, got, c.want)
		}
	}
	// Files complete the second argument of publish.
	if r := f.run(t, "__completeNoDesc", "publish", "prices", ""); !strings.Contains(r.out, ":0\n") {
		t.Errorf("%+v", r)
	}
}
