package servertest

import "testing"

// NATSPath returns the path of nats-server, for a test that runs it otherwise than [NATS] does.
func NATSPath(t testing.TB) string {
	t.Helper()
	return program(t, "nats-server", installTools)
}
