package segments

// memory is that of an arena.
type memory struct {
	bytes []byte // nil: buffers are made on the heap one by one
}
