// Package servertest runs real servers as child processes of a test: redis-server, nats-server with JetStream on
// disk, and an S3 server.
//
// Each server listens on a loopback port of its own and keeps its data in a temporary folder of the test. It can be
// stopped, killed, frozen and started again on the same port and data. It ends with the test, and on Linux also
// with the test binary, however that dies. A server that is not installed fails the test with the command that
// installs it: a missing server never passes for a green test.
//
// The methods call t.Fatal, so they belong on the test's own goroutine. A test that looks for leaked goroutines
// registers that check with t.Cleanup before it starts a server, because one goroutine a server lives until the
// server's own cleanup.
package servertest
