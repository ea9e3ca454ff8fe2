package table

import (
	"math/bits"
	"slices"

	"freshet.dev/pkg/snapshot"
)

// EstimateBytes returns about what [Table.Bytes] of a version with the given number of records will be after a load of its snapshot. The
// payload is the sum of the lengths of all keys and values. Deltas that the table gets later add up to a quarter; see the package
// comment. The estimate is within 10 % for records of about equal length.
func EstimateBytes(records, payload uint64) int64 {
	raw := payload + records*headBytes(records, payload)
	dirBits := snapshot.PartitionBits(int64(raw))
	entries := int64(1) << max(dirBits, 1)
	directory := tableBytes + entries*bits.UintSize/8
	if records == 0 {
		return directory
	}
	partitions := min(uint64(1)<<dirBits, records)
	each := partitionBytes + slabBytes(int(raw/partitions), partitions > 1) + indexBytes(int(records/partitions))
	return directory + int64(partitions)*each
}

// headBytes returns how many bytes precede the key in the encoding of a record of average length: the lengths of key and value.
func headBytes(records, payload uint64) uint64 {
	switch average := payload / max(records, 1); {
	case average < 160: // a key of some 30 bytes, and a value whose length takes one byte
		return 2
	case average < 16<<10:
		return 3
	}
	return 4
}

// slabBytes returns the memory of a slab for n bytes of records. Partitions of a table differ in size, so that the allocator rounds the
// slab of each up by half a step on average.
func slabBytes(n int, many bool) int64 {
	if many && n > pagedSlab {
		return int64(n) + snapshot.DecodeSlack + runtimePage/2
	}
	return int64(cap(newSlab(n + snapshot.DecodeSlack)))
}

// indexBytes returns the memory of the index of a partition.
func indexBytes(records int) int64 {
	slots := cap(slices.Grow([]uint32(nil), indexPages*(homesFor(records)+spareSlots)))
	return 4 * int64(slots/indexPages*indexPages)
}
