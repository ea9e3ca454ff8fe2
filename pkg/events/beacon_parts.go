package events

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"freshet.dev/pkg/dataset"
)

const (
	// partBytes bounds one message of a beacon, if the server allows as much. An instance reads only the messages whose bounds
	// include one of its datasets; small messages carry fewer unwanted datasets. Listeners up to v0.2 buffer 64
	// messages, which limits a beacon to some 150,000 datasets.
	partBytes = 256 << 10
	// usualPayload is the default limit of a NATS server for a message.
	usualPayload = 1 << 20
	// longestName is the length of the longest name of a dataset.
	longestName = 64
)

// parts returns b, which has no bounds, as JSON messages of at most limit bytes, each with the names within its bounds.
func (b Beacon) parts(limit int) ([][]byte, error) {
	if limit <= 0 {
		limit = usualPayload
	}
	limit = min(limit, partBytes)
	head, err := b.headBytes()
	if err != nil {
		return nil, err
	}
	names, unread := b.names()
	var parts [][]byte
	for first := true; first || len(names) > 0; first = false {
		n := b.fitting(names, unread, limit-head)
		if n == 0 && len(names) > 0 || head > limit {
			return nil, fmt.Errorf("one dataset does not fit into a message of %d bytes, the limit of the NATS server; "+
				"set its max_payload to 4KB or more", limit)
		}
		part := b.part(names[:n], unread)
		names = names[n:]
		if len(names) > 0 {
			part.To = names[0]
		}
		data, err := json.Marshal(part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, data)
		b.From = part.To
	}
	return parts, nil
}

// names returns the sorted names of all datasets of b, and the set of the unread ones.
func (b Beacon) names() (names []string, unread map[string]bool) {
	names = slices.Concat(slices.Collect(maps.Keys(b.Newest)), slices.Collect(maps.Keys(b.Journal)), b.Unread)
	slices.Sort(names)
	unread = make(map[string]bool, len(b.Unread))
	for _, name := range b.Unread {
		unread[name] = true
	}
	return slices.Compact(names), unread
}

// fitting returns how many of the first names fit into a message, which has the given space for them.
func (b Beacon) fitting(names []string, unread map[string]bool, space int) int {
	for i, name := range names {
		if space -= b.entryBytes(name, unread[name]); space < 0 {
			return i
		}
	}
	return len(names)
}

// part returns b with the given names only, without an upper bound.
func (b Beacon) part(names []string, unread map[string]bool) Beacon {
	part := b
	part.To = ""
	part.Newest, part.IDs, part.Unread = make(map[string]uint64, len(names)), make(map[string]dataset.VersionID, len(names)), nil
	part.Journal = make(map[string]uint64)
	for _, name := range names {
		if version, ok := b.Newest[name]; ok {
			part.Newest[name] = version
			if id, ok := b.IDs[name]; ok {
				part.IDs[name] = id
			}
		}
		if number, ok := b.Journal[name]; ok {
			part.Journal[name] = number
		}
		if unread[name] {
			part.Unread = append(part.Unread, name)
		}
	}
	return part
}

// headBytes returns the greatest length of a message of b without its datasets.
func (b Beacon) headBytes() (int, error) {
	b.Newest, b.IDs, b.Journal, b.Unread, b.From, b.To = nil, nil, nil, nil, "", ""
	data, err := json.Marshal(b)
	return len(data) + len(`"from":"","to":"","ids":{},"journal":{},"unread":[],`) + 2*longestName, err
}

// entryBytes returns the bytes of a dataset in a message. Names need no escapes.
func (b Beacon) entryBytes(name string, unread bool) (n int) {
	if version, ok := b.Newest[name]; ok {
		n += len(name) + len(`"":,`) + len(strconv.FormatUint(version, 10))
		if _, ok := b.IDs[name]; ok {
			n += len(name) + len(`"":"",`) + 2*len(dataset.VersionID{})
		}
	}
	if number, ok := b.Journal[name]; ok {
		n += len(name) + len(`"":,`) + len(strconv.FormatUint(number, 10))
	}
	if unread {
		n += len(name) + len(`"",`)
	}
	return n
}
