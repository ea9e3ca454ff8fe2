// Package table compares pkg/table with a Go map, dolthub/swiss and colinmarc/cdb, all with the same rows:
//
//   - lookups, all in one process with interleaved rounds, so that noise affects all alike
//   - memory and garbage collection, each in its own process
//   - load, compared with json.Unmarshal of the same rows
//
// The Go benchmarks in this package measure the same lookups: go test -bench . ./table (in scripts/benchmarks).
package table
