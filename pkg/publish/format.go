package publish

import (
	"fmt"
	"path"
	"strings"
)

// Format is the format of an input.
type Format uint8

// The formats. Compression is detected by the first bytes, for any format.
const (
	// FormatAuto is NDJSON, JSON or Parquet, detected by the first characters.
	FormatAuto Format = iota
	// FormatNDJSON is one JSON object a line.
	FormatNDJSON
	// FormatJSON is one JSON array of objects.
	FormatJSON
	// FormatCSV is comma-separated values with a header line.
	FormatCSV
	// FormatParquet is a Parquet file, whose rows become JSON objects.
	FormatParquet
)

const formatNames = "auto, ndjson, json, csv, parquet"

// String returns the name that ParseFormat reads.
func (f Format) String() string {
	switch f {
	case FormatAuto:
		return "auto"
	case FormatNDJSON:
		return "ndjson"
	case FormatJSON:
		return "json"
	case FormatCSV:
		return "csv"
	case FormatParquet:
		return "parquet"
	}
	return fmt.Sprintf("format %d", uint8(f))
}

// ParseFormat returns the format called name: auto, ndjson (or jsonl), json, csv or parquet. The empty name is auto.
func ParseFormat(name string) (Format, error) {
	switch strings.ToLower(name) {
	case "", "auto":
		return FormatAuto, nil
	case "ndjson", "jsonl":
		return FormatNDJSON, nil
	case "json":
		return FormatJSON, nil
	case "csv":
		return FormatCSV, nil
	case "parquet":
		return FormatParquet, nil
	}
	return 0, fmt.Errorf("%w: there is no format %.40q; use one of %s", ErrInput, name, formatNames)
}

// FormatOf returns the format that the extension of the file's name stands for, without a last .gz or .zst; FormatAuto if it stands for
// none. A file called .json is FormatAuto, because the name is common for both an array and lines of objects.
func FormatOf(filename string) Format {
	name := strings.ToLower(filename)
	for _, packed := range []string{".gz", ".zst", ".zstd"} {
		if cut, ok := strings.CutSuffix(name, packed); ok {
			name = cut
			break
		}
	}
	switch path.Ext(name) {
	case ".csv":
		return FormatCSV
	case ".ndjson", ".jsonl":
		return FormatNDJSON
	case ".parquet":
		return FormatParquet
	}
	return FormatAuto
}
