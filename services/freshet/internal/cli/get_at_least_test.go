package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/exit"
)

// A pipeline reads what it has published: the token that each publish prints is enough, without --wait.
func TestReadYourWrites(t *testing.T) {
	f := start(t, "prices")
	tokenIn := func(out string) string {
		t.Helper()
		_, after, ok := strings.Cut(out, "  token: ")
		text, _, _ := strings.Cut(after, "\n")
		if _, err := dataset.ParseToken(text); !ok || err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		return text
	}
	first := tokenIn(f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku").out)
	f.run(t, "get", "prices", "A1", "--at-least", first).want(t, exit.OK, `stdout:{"sku":"A1","price":5}`)
	var published struct{ Token dataset.Token }
	r := f.run(t, "publish", "prices", file(t, "new.ndjson", newPrices), "--key", "sku", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &published); err != nil || published.Token.Version != 2 {
		t.Fatalf("%s: %v", r.out, err)
	}
	f.run(t, "get", "prices", "A1", "--at-least", published.Token.String()).want(t, exit.OK, `stdout:{"sku":"A1","price":6}`)
	if token := tokenIn(f.run(t, "publish", "prices", file(t, "new.ndjson", newPrices), "--key", "sku").out); token != published.Token.String() {
		t.Errorf("the token of the same content is %s", token)
	}
	back := tokenIn(f.run(t, "rollback", "prices", "--to", "1", "--reason", "why").out)
	f.run(t, "get", "prices", "A1", "--at-least", back).want(t, exit.OK, `stdout:{"sku":"A1","price":5}`)
	// The versions before are in the history of the newest.
	f.run(t, "get", "prices", "A1", "--at-least", first, "-o", "json").want(t, exit.OK, `stdout:"version":3`)

	next, err := dataset.ParseToken(back)
	if err != nil {
		t.Fatal(err)
	}
	next.Version++
	f.run(t, "get", "prices", "A1", "--at-least", next.String()).want(t, exit.TimedOut, "stderr:version 4 (", "stderr:is not served yet, version 3 (")
	next.Version = 2
	f.run(t, "get", "prices", "A1", "--at-least", next.String()).want(t, exit.NotFound, "stderr:is not in the history of the store, which has version 2 (")
	for _, args := range []string{"--at-least 17", "--at-least prices/1", "--at-least " + strings.Replace(first, "prices", "cities", 1), "--version 1 --at-least " + first, "--all --at-least " + first} {
		f.run(t, append([]string{"get", "prices", "A1"}, strings.Fields(args)...)...).want(t, exit.Usage, "stderr:--at-least")
	}
	if dry := f.run(t, "publish", "prices", file(t, "new.ndjson", newPrices), "--key", "sku", "--dry-run"); strings.Contains(dry.out, "token") {
		t.Errorf("a dry run prints %s", dry.out)
	}
}
