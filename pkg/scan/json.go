package scan

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// appendText appends text as a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendText(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

// appendKey appends the member of a row that has the key: key, or key_base64 if it is no UTF-8.
func appendKey(dst, key []byte) []byte {
	if utf8.Valid(key) {
		dst, _ = jsontext.AppendQuote(append(dst, `"key":`...), key)
		return dst
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, `"key_base64":"`...), key)
	return append(dst, '"')
}

// appendWhole appends the member of a row that has a record's value: value if it is JSON on one line, byte for byte, else value_text if it
// is UTF-8, else value_base64.
func appendWhole(dst, value []byte) []byte {
	switch {
	case bytes.IndexByte(value, '\n') < 0 && validJSON(value):
		return append(append(dst, `"value":`...), value...)
	case utf8.Valid(value):
		dst, _ = jsontext.AppendQuote(append(dst, `"value_text":`...), value)
		return dst
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, `"value_base64":"`...), value)
	return append(dst, '"')
}

func validJSON(text []byte) bool {
	return jsontext.Value(text).IsValid(jsontext.AllowDuplicateNames(true))
}

// appendRaw appends a part of a record's value on one line.
func appendRaw(dst []byte, raw string) ([]byte, error) {
	at := len(dst)
	dst = append(dst, raw...)
	if !validJSON(dst[at:]) {
		return dst, fmt.Errorf("the value is not JSON: %.40q", raw)
	}
	for i, c := range dst[at:] {
		if c == '\n' || c == '\r' { // a blank between tokens: strings have none
			dst[at+i] = ' '
		}
	}
	return dst, nil
}

// maxDepth is how deep the lists and maps that an expression makes may be nested, maxText how many bytes of JSON they may have.
const (
	maxDepth = 64
	maxText  = 4 << 20
)

// checkLength returns an error if n bytes are too many.
func checkLength(n int) error {
	if n > maxText {
		return fmt.Errorf("the result has more than %d bytes of JSON", maxText)
	}
	return nil
}

// appendValue appends the JSON of a value. Members of maps are in the order of their names.
func appendValue(dst []byte, v ref.Val, depth int) ([]byte, error) {
	if depth > maxDepth {
		return dst, fmt.Errorf("lists and maps are nested deeper than %d", maxDepth)
	}
	switch v := v.(type) {
	case types.Null:
		return append(dst, "null"...), nil
	case types.Bool:
		return strconv.AppendBool(dst, bool(v)), nil
	case types.Int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case types.Double:
		return appendDouble(dst, float64(v))
	case types.String:
		return appendText(dst, string(v)), nil
	case types.Bytes:
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), v)
		return append(dst, '"'), nil
	case types.Timestamp:
		return appendText(dst, v.UTC().Format(time.RFC3339Nano)), nil
	case types.Duration:
		return appendText(dst, v.Duration.String()), nil
	case *types.Optional:
		if v.HasValue() {
			return appendValue(dst, v.GetValue(), depth)
		}
		return append(dst, "null"...), nil
	case *object:
		return appendRaw(dst, string(v.raw))
	case *array:
		return appendRaw(dst, v.json.Raw())
	case traits.Mapper:
		return appendMap(dst, v, depth)
	case traits.Lister:
		return appendList(dst, v, depth)
	}
	return dst, fmt.Errorf("a %s has no JSON form", v.Type().TypeName())
}

func appendDouble(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, fmt.Errorf("the result is %v, which JSON cannot hold", f)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64), nil
}

func appendList(dst []byte, l traits.Lister, depth int) (_ []byte, err error) {
	at := len(dst)
	dst = append(dst, '[')
	for it, first := l.Iterator(), true; it.HasNext() == types.True; first = false {
		if !first {
			dst = append(dst, ',')
		}
		if dst, err = appendValue(dst, it.Next(), depth+1); err == nil {
			err = checkLength(len(dst) - at)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, m traits.Mapper, depth int) ([]byte, error) {
	type entry struct{ name, value []byte }
	var all []entry
	length := 0
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, err := appendValue(nil, key, depth+1)
		if err != nil {
			return dst, err
		}
		if name[0] != '"' { // a number or a boolean
			name = append(append([]byte{'"'}, name...), '"')
		}
		value, err := appendValue(nil, m.Get(key), depth+1)
		length += len(name) + len(value)
		if err == nil {
			err = checkLength(length)
		}
		if err != nil {
			return dst, err
		}
		all = append(all, entry{name, value})
	}
	slices.SortFunc(all, func(a, b entry) int { return bytes.Compare(a.name, b.name) })
	dst = append(dst, '{')
	for i, e := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, e.name...), ':'), e.value...)
	}
	return append(dst, '}'), nil
}

// compareJSON orders JSON texts: null, booleans, numbers by their values, strings, arrays, objects, and the texts of one kind by their
// bytes.
func compareJSON(a, b string) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	if rank(a) == rankNumber {
		x, _ := strconv.ParseFloat(a, 64)
		y, _ := strconv.ParseFloat(b, 64)
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(a, b)
}

const rankNumber = 2

func rank(text string) int {
	switch text[0] {
	case 'n':
		return 0
	case 'f', 't':
		return 1
	case '"':
		return 3
	case '[':
		return 4
	case '{':
		return 5
	}
	return rankNumber
}
