package cachedir

import (
	"os"
	"testing"
	"time"
)

// TestMain increases the patience, because the disks of busy machines pause.
func TestMain(m *testing.M) {
	DefaultPatience = 30 * time.Second
	os.Exit(m.Run())
}
