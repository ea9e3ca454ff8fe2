package publisher

import (
	"bytes"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"
)

// Member is a member that differs between two JSON objects.
type Member struct {
	Name string
	// Old and New are its JSON; nil if the object does not have it.
	Old, New json.RawMessage
}

// Members returns the members that differ between two values, in the order of the old one and then of the new one. It returns none if
// one of the values is no JSON object, or if they differ only in blanks or in the order of members.
func Members(before, after []byte) []Member {
	was, ok := members(before)
	is, also := members(after)
	if !ok || !also {
		return nil
	}
	known := make(map[string]int, len(is))
	for i, m := range is {
		known[m.Name] = i
	}
	var differ []Member
	for _, m := range was {
		i, ok := known[m.Name]
		if !ok {
			differ = append(differ, Member{Name: m.Name, Old: m.New})
			continue
		}
		if !bytes.Equal(compact(m.New), compact(is[i].New)) {
			differ = append(differ, Member{m.Name, m.New, is[i].New})
		}
		delete(known, m.Name)
	}
	for _, m := range is {
		if _, added := known[m.Name]; added {
			differ = append(differ, m)
		}
	}
	return differ
}

// members returns the members of a JSON object, with their values in New.
func members(object []byte) (all []Member, ok bool) {
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if dec.PeekKind() != jsontext.KindBeginObject {
		return nil, false
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, false
	}
	for dec.PeekKind() == jsontext.KindString {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, false
		}
		text := name.String() // before the decoder reads on
		value, err := dec.ReadValue()
		if err != nil {
			return nil, false
		}
		all = append(all, Member{Name: text, New: json.RawMessage(bytes.Clone(value))})
	}
	_, err := dec.ReadToken()
	return all, err == nil
}

// compact returns JSON without blanks.
func compact(text json.RawMessage) []byte {
	v := jsontext.Value(bytes.Clone(text))
	if v.Compact() != nil {
		return text
	}
	return v
}
