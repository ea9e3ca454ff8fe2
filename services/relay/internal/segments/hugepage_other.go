//go:build unix && !linux && !race

package segments

func preferHugePages([]byte) {}
