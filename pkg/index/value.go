package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/member"
)

// ErrValue is wrapped by the errors of values that no record can have.
var ErrValue = errors.New("not a value of a member")

// maxValueBytes is the length of the longest encoded value in an index.
const maxValueBytes = 512

// hashOver is the length of the longest text that an index for equality has as it is. Longer ones are hashed.
const hashOver = 32

// The first bytes of encoded values. They keep kinds apart: booleans come before numbers, and numbers before texts. The byte of a number has
// its sign and, if it is small, its exponent.
const (
	tagFalse  = 0x01
	tagTrue   = 0x02
	tagLow    = 0x08 // negative numbers of huge exponents, the lowest tag of numbers
	tagZero   = 0x47
	tagTiny   = 0x48 // positive numbers of exponents below -smallExp
	tagSmall  = 0x49 // positive numbers of the exponent -smallExp
	tagHuge   = 0x86 // positive numbers of huge exponents, the highest tag of numbers
	tagText   = 0xc0
	tagHashed = 0xd0

	smallExp = 30
)

// Value is a text, a number or a boolean to look up.
type Value struct {
	kind member.Kind // String, Number or Bool
	text string
}

// Text returns the value of a JSON string.
func Text(s string) Value { return Value{member.String, s} }

// Bool returns the value of a JSON boolean.
func Bool(b bool) Value { return Value{member.Bool, strconv.FormatBool(b)} }

// Int returns the value of a JSON number.
func Int(n int64) Value { return Value{member.Number, strconv.FormatInt(n, 10)} }

// Number returns the value of a number as JSON writes it. Numbers are compared exactly, whatever the number of their digits: 1, 1.0 and
// 10e-1 are equal. The error is an [ErrValue].
func Number(text string) (Value, error) {
	if !isNumber(text) {
		return Value{}, fmt.Errorf("%w: %.80q is no JSON number", ErrValue, text)
	}
	if _, ok := appendNumber(nil, text); !ok {
		return Value{}, fmt.Errorf("%w: the exponent of %.80q is too large", ErrValue, text)
	}
	return Value{member.Number, text}, nil
}

// AnyOf returns the values that text may stand for where kinds are not written: the text itself, and a number or boolean of that form.
func AnyOf(text string) []Value {
	values := []Value{Text(text)}
	if text == "true" || text == "false" {
		values = append(values, Bool(text == "true"))
	}
	if n, err := Number(text); err == nil {
		values = append(values, n)
	}
	return values
}

// isNumber reports whether text is a number of JSON.
func isNumber(text string) bool {
	rest := strings.TrimPrefix(text, "-")
	whole := digits(rest)
	if whole == 0 || whole > 1 && rest[0] == '0' {
		return false
	}
	rest = rest[whole:]
	if strings.HasPrefix(rest, ".") {
		n := digits(rest[1:])
		if n == 0 {
			return false
		}
		rest = rest[1+n:]
	}
	if rest != "" && (rest[0] == 'e' || rest[0] == 'E') {
		rest = rest[1:]
		if rest != "" && (rest[0] == '+' || rest[0] == '-') {
			rest = rest[1:]
		}
		n := digits(rest)
		return n > 0 && n == len(rest)
	}
	return rest == ""
}

// digits returns how many digits s begins with.
func digits(s string) (n int) {
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

// append appends the encoding of v. Encoded values have the order of their values, and none is the beginning of another. ok is false if
// the exponent of a number is too large.
func (v Value) append(dst []byte) (encoded []byte, ok bool) {
	switch v.kind {
	case member.Bool:
		if v.text == "true" {
			return append(dst, tagTrue), true
		}
		return append(dst, tagFalse), true
	case member.Number:
		return appendNumber(dst, v.text)
	}
	return append(appendText(dst, v.text), 0), true
}

// appendText appends a text without the zero that ends it. Zeros and ones in the text are escaped, so that only the end has a zero.
func appendText(dst []byte, text string) []byte {
	dst = append(dst, tagText)
	for i := range len(text) {
		if c := text[i]; c <= 1 {
			dst = append(dst, 1, c+1)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendHashed appends the encoding of a long text in an index for equality.
func appendHashed(dst []byte, text string) []byte {
	sum := xxh3.HashString128(text).Bytes()
	return append(append(dst, tagHashed), sum[:]...)
}

// appendNumber appends the encoding of a JSON number: the tag, for exponents that are not small four bytes with the exponent, then the
// significant digits, two in each byte, and a byte that ends them. All bytes of a negative number after its tag are inverted. ok is false
// if the exponent does not fit.
func appendNumber(dst []byte, text string) (encoded []byte, ok bool) {
	rest, negative := strings.CutPrefix(text, "-")
	mantissa, exponent := rest, 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa = rest[:i]
		var err error
		if exponent, err = strconv.Atoi(rest[i+1:]); err != nil || exponent != int(int32(exponent)) {
			if strings.Trim(mantissa, "0.") == "" {
				return append(dst, tagZero), true
			}
			return dst, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	// The number is 0.DIGITS times ten to the power of exponent, where DIGITS begin and end with another digit than 0.
	exponent += len(whole)
	trimmed := strings.TrimLeft(whole, "0")
	if exponent -= len(whole) - len(trimmed); trimmed == "" {
		short := strings.TrimLeft(fraction, "0")
		exponent -= len(fraction) - len(short)
		fraction = short
	}
	whole = trimmed
	if fraction = strings.TrimRight(fraction, "0"); fraction == "" {
		whole = strings.TrimRight(whole, "0")
	}
	if whole == "" && fraction == "" {
		return append(dst, tagZero), true
	}
	if exponent > math.MaxInt32 || exponent < math.MinInt32 {
		return dst, false
	}
	start := len(dst)
	switch {
	case exponent > smallExp:
		dst = append(dst, tagHuge)
		dst = binary.BigEndian.AppendUint32(dst, uint32(exponent)^1<<31)
	case exponent < -smallExp:
		dst = append(dst, tagTiny)
		dst = binary.BigEndian.AppendUint32(dst, uint32(exponent)^1<<31)
	default:
		dst = append(dst, byte(tagSmall+smallExp+exponent))
	}
	digit := func(i int) byte {
		switch {
		case i < len(whole):
			return whole[i] - '0'
		case i < len(whole)+len(fraction):
			return fraction[i-len(whole)] - '0'
		}
		return 0
	}
	for i := 0; i < len(whole)+len(fraction); i += 2 {
		dst = append(dst, 10*digit(i)+digit(i+1)+1)
	}
	dst = append(dst, 0)
	if negative {
		dst[start] = 2*tagZero - dst[start]
		for i := start + 1; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst, true
}

// valueLen returns the length of the encoded value that an entry begins with.
func valueLen(entry []byte) int {
	i := 1
	var end byte
	switch tag := entry[0]; {
	case tag == tagFalse, tag == tagTrue, tag == tagZero:
		return 1
	case tag == tagHashed:
		return 17
	case tag < tagZero:
		end = 0xff
		if tag == tagLow || tag == tagZero-1 {
			i = 5
		}
	case tag == tagTiny, tag == tagHuge:
		i = 5
	}
	for entry[i] != end {
		i++
	}
	return i + 1
}

// next returns the lowest bytes above all that begin with prefix, nil if there are none.
func next(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			above := append([]byte(nil), prefix[:i+1]...)
			above[i]++
			return above
		}
	}
	return nil
}
