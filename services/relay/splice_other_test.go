//go:build !linux

package relay_test

// Only Linux has splice.
const withoutSplice = "RELAY_TEST_WITHOUT_SPLICE"

func refuseSplice() error { return nil }
