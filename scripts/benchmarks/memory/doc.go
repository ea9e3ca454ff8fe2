// Package memory measures the memory of a freshet-server as the kernel counts it: after it has loaded a dataset, and after a hundred
// deltas of 1 % while lookups go on. The alternative is a service that holds the same records as a Go map of decoded structs.
package memory
