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
	// partBytes is the most that one message of a beacon takes, if the server allows as much. An instance reads only the
	// messages whose bounds have a dataset of its own: in small ones there is less of others. Listeners of releases up to v0.2 have
	// room for 64 messages, which are the beacon of some 150,000 datasets then.
	partBytes = 256 << 10
	// usualPayload is the most that a NATS server takes in a message by default.
	usualPayload = 1 << 20
	// longestName is the length of the longest name of a dataset.
	longestName = 64
)

// parts returns b, which has no bounds, as JSON messages of at most most bytes, each with the names within its bounds.
func (b Beacon) parts(most int) ([][]byte, error) {
	if most <= 0 {
		most = usualPayload
	}
	most = min(most, partBytes)
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
			if size += entryBytes(name, version, ok, hasID, unread[name]); size > most {
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
		if n == 0 && len(names) > 0 || head > most {
			return nil, fmt.Errorf("one dataset does not fit into a message of %d bytes, which is the most that the NATS server takes; "+
				"set its max_payload to 4KB or more", most)
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

// headBytes returns how long a message of b without datasets is at most.
func (b Beacon) headBytes() (int, error) {
	b.Newest, b.IDs, b.Unread, b.From, b.To = nil, nil, nil, "", ""
	data, err := json.Marshal(b)
	return len(data) + len(`"from":"","to":"","ids":{},"unread":[],`) + 2*longestName, err
}

// entryBytes returns how many bytes of a message a dataset takes. Names need no escapes.
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
