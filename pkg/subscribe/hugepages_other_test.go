//go:build !linux

package subscribe_test

func withoutHugePages() error { return nil }
