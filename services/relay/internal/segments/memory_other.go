//go:build unix && !linux && !race

package segments

func smallPages([]byte) {}

func (memory) populate(buffer, int64) {}
