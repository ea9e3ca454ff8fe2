// Package relay measures a relay under a storm of clients: its memory, its reads of the origin and its throughput, next to
// nginx and to handlers that serve the same file in other ways. Servers and clients are separate processes on loopback.
//
// Every server has the system's socket settings, and the clients are the same for all. The results depend on the system's
// congestion control, which is printed: BBR paces what a server sends, also to clients on the same machine.
package relay
