// Package latency measures lookups while an instance does heavy work: in a Go service that embeds package subscribe, and over HTTP from
// freshet-server. Lookups come at a fixed rate, and count from the time at which they were to be sent.
//
//   - alone, which every other load is compared with
//   - while deltas of 1 % come back to back, while snapshots are loaded again and again, and while scans saturate the CPU lane
//   - during all of these, with Redis and the relay behind slow proxies
//   - during a surge of ten times the scans that the CPU lane can do
//
// The baselines of the same run are a Go map of decoded structs that is reloaded from JSON, and scans on plain goroutines. Versions are
// made beforehand. While lookups are measured only the instance, a relay, the generator, NATS and Redis run, and the benchmark as the
// committer of the versions and the client of the scans.
package latency
