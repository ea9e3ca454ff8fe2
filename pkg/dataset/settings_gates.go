package dataset

import (
	"encoding/json"
	"fmt"
	"math"
)

const (
	wantCount   = "a whole number, 0 or more; 0 is no bound"
	wantPart    = "a whole number of percent, 0 to 100, without a % sign"
	wantPercent = "a whole number of percent, 0 or more, without a % sign"
)

var (
	wantSchema = fmt.Sprintf("a JSON object of at most %d bytes, a JSON Schema", MaxSchemaBytes)
	wantKeys   = fmt.Sprintf("a JSON array of keys such as [\"a\",\"b\"], each once: at most %d, and %d bytes in all", MaxRequiredKeys, MaxRequiredKeyBytes)
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
	{"max_changed_bytes_percent", "none", "how many percent of the bytes of the version before the records that a version changes may have", wantPercent, whole(31)},
	{"schema", "none", "the JSON Schema (draft 2020-12) of the values", wantSchema, isSchemaText},
	{"required_keys", "none", "the keys that a version must have", wantKeys, areKeys},
}

// isSchemaText reports whether value may be a schema. Package journal compiles it.
func isSchemaText(value json.RawMessage) bool {
	object := map[string]json.RawMessage{}
	return json.Unmarshal(value, &object) == nil && object != nil && textBytes(value) <= MaxSchemaBytes
}

// areKeys reports whether value is a list of keys, each once.
func areKeys(value json.RawMessage) bool {
	var keys []*string
	if json.Unmarshal(value, &keys) != nil || keys == nil || len(keys) > MaxRequiredKeys || textBytes(value) > MaxRequiredKeyBytes {
		return false
	}
	seen := map[string]bool{}
	for _, key := range keys {
		if key == nil || *key == "" || len(*key) > MaxKeyBytes || seen[*key] {
			return false
		}
		seen[*key] = true
	}
	return true
}

// textBytes returns the length of value as JSON without spaces, as a journal entry has it.
func textBytes(value json.RawMessage) int {
	text, err := json.Marshal(value)
	if err != nil { // not reached: the callers have decoded it
		return math.MaxInt
	}
	return len(text)
}
