// Package delta measures the cost of a refresh by deltas, compared with loading the whole snapshot:
//
//   - bytes, time, memory and the cost of lookups afterwards, on generated rows
//   - bytes on a real dataset
//   - a burst of small versions
//   - patches, from the request to the instances that serve them, with real servers and freshet's programs
//   - rollbacks, in instances that keep the table of the restored version and in others
//
// Each measurement runs in its own process. The package prints each bound of the design with the measured value, and fails if a bound
// is missed.
//
// The package writes the deltas itself, because a publisher would take minutes. A test checks that they are byte for byte the deltas of
// a publisher.
package delta
