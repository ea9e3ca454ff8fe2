package input

import (
	"bytes"
	"io"
	"strings"

	"freshet.dev/pkg/dataset"
	"github.com/go-json-experiment/json/jsontext"
)

// maxHolders bounds the members that Holders returns.
const maxHolders = 8

// Holders returns the names of members of the record's value whose text is its key.
func Holders(r dataset.Record) (names []string) {
	dec := jsontext.NewDecoder(bytes.NewReader(r.Value))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	for dec.PeekKind() == jsontext.KindString && len(names) < maxHolders {
		name, err := dec.ReadToken()
		if err != nil {
			return nil
		}
		text := strings.Clone(name.String())
		value, err := dec.ReadValue()
		if err != nil && err != io.EOF {
			return nil
		}
		held := []byte(value)
		if value.Kind() == jsontext.KindString {
			if held, err = jsontext.AppendUnquote(nil, value); err != nil {
				return nil
			}
		} else if value.Kind() != jsontext.KindNumber {
			continue
		}
		if bytes.Equal(held, r.Key) {
			names = append(names, text)
		}
	}
	return names
}
