// Package e2e holds tests only: they run freshet's own programs against real redis-server, nats-server and S3
// processes, and look at them from outside, over HTTP, as users do.
package e2e
