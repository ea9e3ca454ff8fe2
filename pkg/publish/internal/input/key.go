package input

import (
	"fmt"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
)

// Key says how the key of a record is made.
type Key struct {
	// Members are the members (columns) that make it; see [dataset.JoinKey].
	Members []string
	// Numbers says which JSON numbers are keys; empty is dataset.NumbersAsWritten.
	Numbers dataset.NumberKeys
}

// Member returns the key that one member makes, with numbers as they are written.
func Member(name string) Key { return Key{Members: []string{name}} }

// name names the key in messages.
func (k Key) name() string { return strings.Join(k.Members, ", ") }

// maker makes keys of the texts of members. It is for one goroutine.
type maker struct {
	Key
	label string   // names the key in messages
	texts [][]byte // of the members of the record in progress; the bytes are reused
	key   []byte   // of several members
}

func newMaker(k Key) maker {
	return maker{Key: k, label: k.name(), texts: make([][]byte, len(k.Members))}
}

// number sets the text of member i to that of a JSON number.
func (m *maker) number(line, i int, literal []byte) error {
	text := m.texts[i][:0]
	switch m.Numbers {
	case dataset.NumbersPlain:
		if !isPlain(literal) {
			return m.notPlain(line, i, literal)
		}
		text = append(text, literal...)
	case dataset.NumbersInteger:
		var ok bool
		if text, ok = appendInteger(text, literal); !ok {
			return m.noInteger(line, i, literal)
		}
	default:
		text = append(text, literal...)
	}
	m.texts[i] = text
	return nil
}

// join returns the key of the texts. It is valid until the texts change. A member of a composite key must not be empty; check refuses an
// empty key of one member.
func (m *maker) join(line int) ([]byte, error) {
	if len(m.texts) == 1 {
		return m.texts[0], nil
	}
	if i := slices.IndexFunc(m.texts, func(t []byte) bool { return len(t) == 0 }); i >= 0 {
		return nil, &Refusal{
			Line: line, Problem: fmt.Sprintf("the member %q of the key is empty", m.Members[i]),
			Hint: "each member of a key has 1 byte at least", Err: dataset.ErrRecord,
		}
	}
	m.key = dataset.AppendKey(m.key[:0], m.texts...)
	return m.key, nil
}

func (m *maker) notPlain(line, i int, literal []byte) error {
	hint := "write it as a string, always in the same spelling"
	if whole, ok := appendInteger(nil, literal); ok {
		hint = fmt.Sprintf("write it as %.40s; or, so that all spellings of an integer are one key, change the setting: "+
			"freshet settings DATASET --set number_keys=integer --reason TEXT", whole)
	}
	return &Refusal{
		Line: line, Problem: fmt.Sprintf("the key member %q is %.40s, which is no plain integer", m.Members[i], literal), Hint: hint,
	}
}

func (m *maker) noInteger(line, i int, literal []byte) error {
	return &Refusal{
		Line: line, Problem: fmt.Sprintf("the key member %q is %.40s, which is no integer of at most %d digits", m.Members[i], literal, dataset.MaxKeyBytes),
		Hint: "write it as a string, always in the same spelling",
	}
}

// isPlain reports whether a JSON number is spelled as a plain integer: digits, with - before them unless they are 0.
func isPlain(literal []byte) bool {
	for i, c := range literal {
		if (c < '0' || c > '9') && !(c == '-' && i == 0) {
			return false
		}
	}
	return string(literal) != "-0"
}

// appendInteger appends the plain spelling of a JSON number, exactly, whatever its size. It returns false if the number is no integer, or
// has more digits than a key has bytes.
func appendInteger(dst, literal []byte) ([]byte, bool) {
	digits, negative := literal, false
	if len(digits) > 0 && digits[0] == '-' {
		digits, negative = digits[1:], true
	}
	mantissa, exponent := digits, 0
	if i := slices.IndexFunc(digits, func(c byte) bool { return c == 'e' || c == 'E' }); i >= 0 {
		mantissa, exponent = digits[:i], parseExponent(digits[i+1:])
	}
	whole, fraction := mantissa, []byte(nil)
	if i := slices.Index(mantissa, '.'); i >= 0 {
		whole, fraction = mantissa[:i], mantissa[i+1:]
	}
	// The value is the digits of whole and fraction, with the point after the digit number point.
	point := len(whole) + exponent
	at := func(i int) byte {
		switch {
		case i < len(whole):
			return whole[i]
		case i < len(whole)+len(fraction):
			return fraction[i-len(whole)]
		}
		return '0'
	}
	first := 0 // digit that is not 0
	total := len(whole) + len(fraction)
	for first < total && at(first) == '0' {
		first++
	}
	if first == total {
		return append(dst, '0'), true
	}
	for i := max(point, 0); i < total; i++ {
		if at(i) != '0' {
			return dst, false
		}
	}
	if point <= first || point-first > dataset.MaxKeyBytes {
		return dst, false
	}
	if negative {
		dst = append(dst, '-')
	}
	for i := first; i < point; i++ {
		dst = append(dst, at(i))
	}
	return dst, true
}

// maxExponent is more than any exponent of an integer that is a key, with the digits of a number that is written as a record can hold it.
const maxExponent = 4 * dataset.MaxValueBytes

// parseExponent returns the value of the exponent of a JSON number, bounded to maxExponent.
func parseExponent(text []byte) int {
	negative := text[0] == '-'
	if text[0] == '-' || text[0] == '+' {
		text = text[1:]
	}
	n := 0
	for _, c := range text {
		n = min(n*10+int(c-'0'), maxExponent)
	}
	if negative {
		return -n
	}
	return n
}

// isNumber reports whether text is a JSON number.
func isNumber(text []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(text) && text[n] >= '0' && text[n] <= '9' {
			n++
		}
		text = text[n:]
		return n > 0
	}
	if len(text) > 0 && text[0] == '-' {
		text = text[1:]
	}
	if len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9' || !digits() {
		return false
	}
	if len(text) > 0 && text[0] == '.' {
		if text = text[1:]; !digits() {
			return false
		}
	}
	if len(text) > 0 && (text[0] == 'e' || text[0] == 'E') {
		text = text[1:]
		if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
			text = text[1:]
		}
		return digits() && len(text) == 0
	}
	return len(text) == 0
}

// role says what a member is for, in the message that a record lacks it.
func (k Key) role() string {
	if len(k.Members) == 1 {
		return "which was named as the key"
	}
	return "which was named as a member of the key"
}
