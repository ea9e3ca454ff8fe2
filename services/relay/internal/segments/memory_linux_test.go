//go:build !race

package segments

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// Whatever the system does with huge pages, there are none of which a part is discarded.
func TestNoHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Logf("this kernel knows no huge pages: %v", err)
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
	_, mapping, ok := strings.Cut(string(maps), fmt.Sprintf("%x-", uintptr(unsafe.Pointer(unsafe.SliceData(a.memory.bytes)))))
	_, flags, found := strings.Cut(mapping, "VmFlags:")
	flags, _, _ = strings.Cut(flags, "\n")
	if !ok || !found || !strings.Contains(flags+" ", " nh ") {
		t.Errorf("the flags of the mapping are %q; want nh among them", flags)
	}
}
