// Package servertest runs real servers as child processes of a test: redis-server, nats-server with JetStream on
// disk, and an S3 server.
//
// Each server has its own loopback port and its own temporary folder. A test can stop, kill, freeze and restart a server on
// the same port and data. The server ends with the test and, on Linux, also with the test binary, even after a panic or
// SIGKILL. If a server is not installed, the test fails with the command that installs it, so that a missing server never
// results in a green test.
//
// The methods call t.Fatal, so they must run on the test's goroutine. A test that checks for leaked goroutines must register
// the check with t.Cleanup before it starts a server, because each server has one goroutine until its cleanup.
package servertest
