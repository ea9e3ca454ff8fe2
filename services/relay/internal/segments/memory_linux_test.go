//go:build !race

package segments

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// The arena has no huge pages, whatever the system's policy: one that is discarded in part would stay resident.
func TestNoHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Logf("this kernel has no huge pages: %v", err)
		return
	}
	a, err := newArena(4, 256<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, mapping, ok := strings.Cut(string(maps), fmt.Sprintf("%x-", uintptr(unsafe.Pointer(unsafe.SliceData(a.memory)))))
	_, flags, found := strings.Cut(mapping, "VmFlags:")
	flags, _, _ = strings.Cut(flags, "\n")
	if !ok || !found || !strings.Contains(flags+" ", " nh ") {
		t.Errorf("the flags of the mapping are %q; want nh among them", flags)
	}
}
