// Package publish measures what publishing a large NDJSON file and loading it costs in memory and time: each step
// runs in a process of its own, whose peak of resident memory the kernel tells.
package publish
