package parquet

import (
	"encoding/binary"
	"errors"
)

// maxThriftDepth bounds the nesting of structures. Those of Parquet nest less than ten deep.
const maxThriftDepth = 32

var (
	errShort  = errors.New("it ends within a structure")
	errThrift = errors.New("it is no Thrift structure")
)

// The types of the compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

// measure walks the structure of Thrift's compact protocol that b begins with, and returns its length and about how many bytes it takes
// when it is decoded. Every length in it is within b. The error is errShort if b ends early.
func measure(b []byte) (n int, memory int64, err error) {
	w := walker{b: b}
	err = w.structure(0)
	return w.at, w.memory, err
}

type walker struct {
	b      []byte
	at     int
	memory int64
}

func (w *walker) structure(depth int) error {
	if depth > maxThriftDepth {
		return errThrift
	}
	for {
		head, err := w.byte()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 { // the field's id follows
			if _, err := w.uvarint(); err != nil {
				return err
			}
		}
		kind := head & 0xf
		if kind == thriftTrue || kind == thriftFalse {
			continue // the type is the value
		}
		if err := w.value(kind, depth); err != nil {
			return err
		}
	}
}

func (w *walker) value(kind byte, depth int) error {
	switch {
	case kind <= thriftByte && kind >= thriftTrue:
		return w.skip(1)
	case kind > thriftByte && kind <= thriftI64:
		_, err := w.uvarint()
		return err
	case kind == thriftDouble:
		return w.skip(8)
	case kind == thriftUUID:
		return w.skip(16)
	case kind == thriftBinary:
		n, err := w.uvarint()
		if err != nil {
			return err
		}
		w.memory += 16 + int64(min(n, uint64(len(w.b))))
		return w.skip(n)
	case kind == thriftList || kind == thriftSet:
		return w.list(depth)
	case kind == thriftMap:
		return w.pairs(depth)
	case kind == thriftStruct:
		return w.structure(depth + 1)
	}
	return errThrift
}

func (w *walker) list(depth int) error {
	head, err := w.byte()
	if err != nil {
		return err
	}
	n, kind := uint64(head>>4), head&0xf
	if n == 15 {
		if n, err = w.uvarint(); err != nil {
			return err
		}
	}
	return w.elements(n, depth, kind)
}

func (w *walker) pairs(depth int) error {
	n, err := w.uvarint()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := w.byte()
	if err != nil {
		return err
	}
	return w.elements(n, depth, kinds>>4, kinds&0xf)
}

// elements walks n times one value of each kind. Each value has at least one byte, which bounds n.
func (w *walker) elements(n uint64, depth int, kinds ...byte) error {
	if n > uint64(len(w.b)-w.at) {
		return errShort
	}
	for range n {
		for _, kind := range kinds {
			w.memory += elementBytes(kind, depth)
			if err := w.value(kind, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// elementBytes returns about how many bytes an element of a list takes, at most. The largest are the column chunks in the list of row groups.
func elementBytes(kind byte, depth int) int64 {
	switch {
	case kind != thriftStruct:
		return 16
	case depth <= 1:
		return 1 << 10
	}
	return 64
}

func (w *walker) byte() (byte, error) {
	if w.at >= len(w.b) {
		return 0, errShort
	}
	w.at++
	return w.b[w.at-1], nil
}

func (w *walker) uvarint() (uint64, error) {
	u, n := binary.Uvarint(w.b[w.at:])
	switch {
	case n == 0:
		return 0, errShort
	case n < 0:
		return 0, errThrift
	}
	w.at += n
	return u, nil
}

func (w *walker) skip(n uint64) error {
	if n > uint64(len(w.b)-w.at) {
		return errShort
	}
	w.at += int(n)
	return nil
}
