//go:build !linux

package table

// hugePages does nothing here: only Linux lets a program ask for huge pages under memory that it has already.
type hugePages struct{}

func (*hugePages) advise([]byte) {}
