// Package resp serves lookups in Redis' protocol, RESP2 and RESP3, for clients of Redis in any language. It only reads.
//
// The key of a record is dataset:key; the dataset is the text before the first colon. The commands, and how they differ from Redis', are
// in deployments/docs/redis.md.
//
// # Guarantees
//
//   - A command reads each dataset in one version: all keys of an MGET come from the table that is served when the command runs. No command
//     waits for a refresh.
//   - A SCAN returns every record that is in the dataset during the whole scan at least once, also while versions are swapped in.
//   - Memory is bounded: the number of connections, the bytes of a command, the bytes of replies that wait for a client, and those that wait
//     for all clients together. A client that does not read is cut, and never waited for.
//
// # Structure
//
// An executor reads commands from bytes and appends their replies to bytes; it knows no connection. On Linux, a loop serves many connections on
// one goroutine: it waits with epoll for those that are readable, reads, executes and writes each. Reads and writes never block, and cost a
// system call each and no switch of goroutines. On other systems each connection has a goroutine. benchmarks.md compares the loop with the
// alternatives.
package resp
