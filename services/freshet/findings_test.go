package main

import (
	"fmt"
	"strings"

	"freshet.dev/pkg/verify"
)

// findingsTable returns the table of the kinds of findings of freshet verify.
func findingsTable() string {
	var b strings.Builder
	b.WriteString("| finding | meaning |\n|---|---|\n")
	for _, k := range verify.Kinds {
		fmt.Fprintf(&b, "| `%s` | %s |\n", k.Kind, k.Text)
	}
	return b.String()
}
