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
	names := slices.Concat(slices.Collect(maps.Keys(b.Newest)), b.Unread)
	slices.Sort(names)
	names = slices.Compact(names)
	unread := make(map[string]bool, len(b.Unread))
	for _, name := range b.Unread {
		unread[name] = true
	}
	head, err := b.headBytes()
	if err != nil {
		return nil, err
	}
	var parts [][]byte
	for first := true; first || len(names) > 0; first = false {
		part := b
		part.Newest, part.IDs, part.Unread = make(map[string]uint64), make(map[string]dataset.VersionID), nil
		size, n := head, 0
		for _, name := range names {
			version, ok := b.Newest[name]
			id, hasID := b.IDs[name]
			hasID = hasID && ok
			if size += entryBytes(name, version, ok, hasID, unread[name]); size > limit {
				break
			}
			if n++; ok {
				part.Newest[name] = version
			}
			if hasID {
				part.IDs[name] = id
			}
			if unread[name] {
				part.Unread = append(part.Unread, name)
			}
		}
		if n == 0 && len(names) > 0 || head > limit {
			return nil, fmt.Errorf("one dataset does not fit into a message of %d bytes, the limit of the NATS server; "+
				"set its max_payload to 4KB or more", limit)
		}
		names = names[n:]
		part.To = ""
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

// headBytes returns the greatest length of a message of b without its datasets.
func (b Beacon) headBytes() (int, error) {
	b.Newest, b.IDs, b.Unread, b.From, b.To = nil, nil, nil, "", ""
	data, err := json.Marshal(b)
	return len(data) + len(`"from":"","to":"","ids":{},"unread":[],`) + 2*longestName, err
}

// entryBytes returns the bytes of a dataset in a message. Names need no escapes.
func entryBytes(name string, version uint64, hasVersion, hasID, unread bool) (n int) {
	if hasVersion {
		n += len(name) + len(`"":,`) + len(strconv.FormatUint(version, 10))
	}
	if hasID {
		n += len(name) + len(`"":"",`) + 2*len(dataset.VersionID{})
	}
	if unread {
		n += len(name) + len(`"",`)
	}
	return n
}
