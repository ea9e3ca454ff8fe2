package segments

import "os"

// memory is that of an arena.
type memory struct {
	bytes []byte   // nil: buffers are made on the heap one by one
	file  *os.File // holds the same bytes, or nil
}
