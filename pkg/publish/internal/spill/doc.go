// Package spill sorts any number of records by (hash, key) in bounded memory and finds duplicate keys.
//
// Records are collected in runs, which stay in memory as long as they fit. Once they do not, each record is written to one of 64 files by
// the next six bits of its key's hash. At the end each file, a range of hashes, is loaded and sorted alone; a file that is too large for
// that is split again by the following six bits. Files are equally large, because the hash is uniform, and seeded so that no input can aim
// at a range. They exist until the Sorter is closed, so that records can be read again: a publisher may learn only from the records what it
// has to write.
//
//	spilled record:  uvarint line of the input | record as package dataset encodes it
package spill
