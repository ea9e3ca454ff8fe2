//go:build !unix

package wire

// write writes part, which src holds until the kernel has taken all of it.
func (c *tcp) write(src Source, part []byte) (n int, err error) {
	n, err = c.TCPConn.Write(part)
	src.Drop(n)
	return n, err
}
