// Package spill sorts any number of records by (hash, key) in bounded memory and finds keys that come twice.
//
// Records are collected in runs. While they fit into the memory that is given they stay there. Once they do not, each
// is written to one of 64 files by the next six bits of its key's hash, and at the end each file, a range of hashes, is
// loaded and sorted alone; a file that is too large for that is split again by the six bits that follow. As the hash is
// even, and seeded so that nobody can aim at a range, files are equally large. They stay until the Sorter is closed: what
// was sorted can be had again, for a publisher that learns only from the records what it has to write.
//
//	spilled record:  uvarint line of the input | record as package dataset encodes it
package spill
