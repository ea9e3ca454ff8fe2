// Package relay measures a relay under a storm of clients: its memory, what it reads from its origin and its
// throughput, beside nginx and beside handlers that serve the same file in other ways. Servers and clients are
// processes of their own, on loopback.
package relay
