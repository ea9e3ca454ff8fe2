package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"freshet.dev/pkg/dataset"
)

// versionDigits is the number of digits of the largest uint64.
const versionDigits = 20

// encodeEntry returns the entry of r, and the trimmed entry without deltas. The trimmed entry also lacks the labels if it would exceed the
// bound of a dataset with them: JSON writes six bytes for some characters. See the package comment.
func encodeEntry(r dataset.VersionRecord) (entry, trimmed []byte, err error) {
	if err := r.Check(); err != nil {
		return nil, nil, err
	}
	first, err := json.Marshal(r)
	if err != nil {
		return nil, nil, err
	}
	second := []byte("[]")
	if len(r.Deltas) > 0 {
		if second, err = json.Marshal(r.Deltas); err != nil {
			return nil, nil, err
		}
		// The deltas are cut out of the JSON, so that the member "id" remains that of the whole record. No string in JSON can contain
		// these quotes.
		first = bytes.Replace(first, slices.Concat([]byte(`,"deltas":`), second), nil, 1)
	}
	head := fmt.Appendf(nil, "%0*d\n", versionDigits, r.Version)
	entry = slices.Concat(head, first, []byte("\n"), second)
	if len(head)+len(first) > maxEntryBytes {
		labels, err := json.Marshal(r.Labels)
		if err != nil {
			return nil, nil, err
		}
		first = bytes.Replace(first, slices.Concat([]byte(`,"labels":`), labels), nil, 1)
	}
	return entry, slices.Concat(head, first), nil
}

// decodeEntry returns the version record of an entry of the dataset name. For a trimmed entry isWhole is false, and the
// record lacks its deltas and does not pass Check.
func decodeEntry(name string, entry []byte) (r dataset.VersionRecord, isWhole bool, err error) {
	lines := bytes.Split(entry, []byte("\n"))
	if len(lines) < 2 || len(lines) > 3 || len(lines[0]) != versionDigits {
		return r, false, fmt.Errorf("%.60q is no catalog entry", entry)
	}
	version, err := strconv.ParseUint(string(lines[0]), 10, 64)
	if err != nil {
		return r, false, fmt.Errorf("%.60q is no catalog entry", entry)
	}
	if err := json.Unmarshal(lines[1], &r); err != nil {
		return r, false, fmt.Errorf("the entry of version %d: %w", version, err)
	}
	if r.Dataset != name || r.Version != version {
		return r, false, fmt.Errorf("the entry of version %d has version %s", version, r.ID())
	}
	if len(lines) < 3 {
		return r, false, nil
	}
	whole := lines[1]
	if !bytes.Equal(lines[2], []byte("[]")) {
		whole = slices.Concat(whole[:len(whole)-1], []byte(`,"deltas":`), lines[2], []byte("}"))
	}
	if r, err = dataset.DecodeVersionRecord(whole); err != nil {
		return r, false, fmt.Errorf("the entry of version %d: %w", version, err)
	}
	return r, true, nil
}
