package servertest

import "testing"

// NATSPath returns the path of nats-server, for a test that does not run it by [NATS].
func NATSPath(t testing.TB) string {
	t.Helper()
	return program(t, "nats-server", installTools)
}
