// Package publish measures memory and time of publishing and loading a large NDJSON file. Each step runs in its own process, whose peak
// of resident memory comes from the kernel.
package publish
