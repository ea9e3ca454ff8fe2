package cli

import (
	"bytes"
	"strings"
	"testing"

	"freshet.dev/services/freshet/internal/exit"
)

// TestDeleteAsksOnATerminal types the name of the dataset on a terminal, wrong and right.
func TestDeleteAsksOnATerminal(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "p.ndjson", priceList(3))).want(t, exit.OK)
	lookup := func(name string) (string, bool) { return f.env[name], true }
	answer := func(text string) result {
		t.Helper()
		main, tty := terminal(t)
		defer tty.Close()
		if _, err := main.WriteString(text); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		code := Run(t.Context(), Process{In: tty, Out: &out, Err: &errs, Command: "freshet", LookupEnv: lookup}, []string{"delete", "prices", "--reason", "why"})
		if !strings.HasPrefix(errs.String(), "This deletes the dataset prices. Type its name to go on: ") {
			t.Errorf("stderr is %q", errs.String())
		}
		return result{code, out.String(), errs.String()}
	}
	answer("price\n").want(t, exit.Usage, `stderr:"price" is not the name of the dataset, which is prices; nothing was deleted`)
	answer("\x04").want(t, exit.Usage, "stderr:nothing was deleted") // the end of the input
	f.run(t, "versions", "prices").want(t, exit.OK, "!deleted")
	answer(" prices \n").want(t, exit.OK, "stdout:prices version 2: deleted")
}
