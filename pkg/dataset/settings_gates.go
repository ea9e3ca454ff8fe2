package dataset

import "fmt"

const (
	wantCount   = "a whole number, 0 or more; 0 is no bound"
	wantPart    = "a whole number of percent, 0 to 100, without a % sign"
	wantPercent = "a whole number of percent, 0 or more, without a % sign"
)

// gateSettings are the settings of the group [Gates].
var gateSettings = []Setting{
	{"min_records", "none", "the least records that a version may have", wantCount, whole(63)},
	{"max_records", "none", "the most records that a version may have", wantCount, whole(63)},
	{
		"max_fewer_records_percent", fmt.Sprintf("%d, from %d records", DefaultMaxFewerRecords, GateRecords),
		"how many percent of the records a version may remove, also if it adds as many; 100 allows everything", wantPart, whole(31),
	},
	{"max_more_records_percent", "none", "how many percent of the records a version may have more than the one before", wantPercent, whole(31)},
	{"max_changed_records_percent", "none", "how many percent of the records a version may change", wantPart, whole(31)},
	{"max_fewer_bytes_percent", "none", "how many percent of the bytes of keys and values a version may have fewer than the one before", wantPart, whole(31)},
	{"max_more_bytes_percent", "none", "how many percent of the bytes of keys and values a version may have more than the one before", wantPercent, whole(31)},
}
