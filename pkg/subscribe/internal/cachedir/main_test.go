package cachedir

import (
	"os"
	"testing"
	"time"
)

// TestMain has the cache folder bear a disk that pauses, as those of busy machines do.
func TestMain(m *testing.M) {
	DefaultPatience = 30 * time.Second
	os.Exit(m.Run())
}
