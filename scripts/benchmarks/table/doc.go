// Package table measures pkg/table against a Go map, dolthub/swiss and colinmarc/cdb, all holding the same rows:
// lookups with all of them in one process and their rounds interleaved, so that noise hits all alike; memory and
// collection with each in a process of its own; load against json.Unmarshal of the same rows.
//
// The Go benchmarks beside it measure the same lookups: go test -bench . ./table (in scripts/benchmarks).
package table
