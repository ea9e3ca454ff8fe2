// Package relay measures a relay under a storm of clients: its memory, what it reads from its origin and its
// throughput, beside nginx and beside handlers that serve the same file in other ways. Servers and clients are
// processes of their own, on loopback.
//
// Every server has what the system gives it, and the clients are the same for all. Much depends on the system's congestion
// control, which is printed: under BBR the kernel paces what nginx sends, and the relay has near clients sent to without
// (its package wire), which nginx cannot be told to do.
package relay
