package main

import (
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
)

// limitsTable returns the table of the limits of a version.
func limitsTable() string {
	var b strings.Builder
	b.WriteString("| what | limit |\n|---|---|\n")
	for _, l := range [][2]string{
		{"name of a dataset", fmt.Sprintf("1 to %d bytes of `a-z`, `0-9`, `_` and `-`, beginning with a letter or digit", dataset.MaxNameBytes)},
		{"key of a record", "1 byte to " + size(dataset.MaxKeyBytes)},
		{"value of a record (from CSV: the row as a JSON object)", size(dataset.MaxValueBytes)},
		{"columns of a CSV", fmt.Sprint(publish.MaxFields)},
		{"members of an object in a record, with those of the objects around it", fmt.Sprint(publish.MaxFields)},
		{
			fmt.Sprintf("records whose keys have hashes with the same %d leading bits", dataset.GroupBits),
			size(dataset.MaxGroupBytes) + " of keys and values together; with seeded hashes only keys chosen for it reach it below ten terabytes",
		},
		{"labels of a version", fmt.Sprintf("%d, names and values of up to %s each, in UTF-8", dataset.MaxLabels, size(dataset.MaxLabelBytes))},
		{"source of a version", size(dataset.MaxSourceBytes) + " of UTF-8"},
		{"who publishes a version (by)", size(dataset.MaxByBytes) + " of UTF-8 on one line"},
		{"why it is published (reason)", size(dataset.MaxReasonBytes) + " of UTF-8 on one line"},
		{"request id", fmt.Sprintf("1 to %d of A-Z, a-z, 0-9, `.`, `_`, `:`, `+`, `/`, `=` and `-`", dataset.MaxRequestIDBytes)},
		{"promised cadence", fmt.Sprintf("%v to %v", dataset.MinExpectEvery, dataset.MaxExpectEvery)},
		{"deltas that a version record names", fmt.Sprintf("%d; a publisher names %d at most", dataset.MaxDeltas, 2*publish.MaxMaxDeltas)},
		{"version record as JSON", size(dataset.MaxRecordBytes)},
		{"journal entry as JSON", size(dataset.MaxEntryBytes)},
		{"records and bytes of a dataset", "none but the memory of the instances"},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", l[0], l[1])
	}
	return b.String()
}

// size formats a number of bytes for the README.
func size(bytes int) string {
	switch {
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}
