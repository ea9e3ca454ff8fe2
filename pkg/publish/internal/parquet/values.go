package parquet

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// appendFunc appends the JSON of a value that is not null.
type appendFunc func([]byte, *parquet.Value) ([]byte, error)

var (
	errNotFinite = errors.New("it has NaN or an infinity, which JSON has no number for; write a null for it")
	errUTF8      = errors.New("it has a string that is not UTF-8; convert it")
	errJSON      = errors.New("it has a value that is not JSON, and its type is JSON")
	errYear      = errors.New("it has a time outside the years 0 to 9999")
	errTime      = errors.New("it has a time of more than a day")
)

// maxFixed bounds the size of FIXED_LEN_BYTE_ARRAY, and maxDecimal that of a decimal in bytes.
const (
	maxFixed   = 1 << 20
	maxDecimal = 1 << 10
)

// newLeaf returns the column of e.
func newLeaf(e *format.SchemaElement, at place, index int) (*leaf, error) {
	l := &leaf{path: at.path, index: index, kind: e.Type.V, size: int(e.TypeLength.V), maxDef: at.def, maxRep: at.rep}
	switch {
	case l.kind < format.Boolean || l.kind > format.FixedLenByteArray:
		return nil, inColumn(at.path, "has the unknown type %d", l.kind)
	case l.kind == format.FixedLenByteArray && (l.size < 1 || l.size > maxFixed):
		return nil, inColumn(at.path, "has values of %d bytes, which must be 1 to %d", l.size, maxFixed)
	case l.maxDef > maxDepth || l.maxRep > maxDepth:
		return nil, inColumn(at.path, "is nested more than %d deep", maxDepth)
	}
	unread := ""
	switch e.LogicalType.Value.(type) {
	case *format.BsonType:
		unread = "BSON"
	case *format.GeometryType:
		unread = "GEOMETRY"
	case *format.GeographyType:
		unread = "GEOGRAPHY"
	case *format.VariantType:
		unread = "VARIANT"
	}
	if converted(e, deprecated.Bson) {
		unread = "BSON"
	}
	if converted(e, deprecated.Interval) {
		unread = "INTERVAL"
	}
	if unread != "" {
		return nil, inColumn(at.path, "has the type %s, which is not read", unread)
	}
	l.append = l.appender(e)
	if l.append == nil {
		return nil, inColumn(at.path, "has the type %v, which %v cannot have", logicalName(e), l.kind)
	}
	return l, nil
}

func logicalName(e *format.SchemaElement) string {
	if e.LogicalType.Value != nil {
		return e.LogicalType.Value.String()
	}
	return fmt.Sprintf("number %d of the converted types", e.ConvertedType.V)
}

// appender returns how the values of l become JSON; nil if its logical type does not fit its physical one.
func (l *leaf) appender(e *format.SchemaElement) appendFunc {
	if _, is := e.LogicalType.Value.(*format.NullType); is {
		return func(b []byte, _ *parquet.Value) ([]byte, error) { return append(b, "null"...), nil }
	}
	if scale, is := decimalScale(e); is {
		return l.decimal(scale)
	}
	if of, is := timeType(e); is {
		return l.time(of)
	}
	switch l.kind {
	case format.Boolean:
		return func(b []byte, v *parquet.Value) ([]byte, error) { return strconv.AppendBool(b, v.Boolean()), nil }
	case format.Int32:
		if unsigned(e) {
			return func(b []byte, v *parquet.Value) ([]byte, error) {
				return strconv.AppendUint(b, uint64(v.Uint32()), 10), nil
			}
		}
		return func(b []byte, v *parquet.Value) ([]byte, error) {
			return strconv.AppendInt(b, int64(v.Int32()), 10), nil
		}
	case format.Int64:
		if unsigned(e) {
			return func(b []byte, v *parquet.Value) ([]byte, error) { return strconv.AppendUint(b, v.Uint64(), 10), nil }
		}
		return func(b []byte, v *parquet.Value) ([]byte, error) { return strconv.AppendInt(b, v.Int64(), 10), nil }
	case format.Int96:
		return appendInt96
	case format.Float:
		return func(b []byte, v *parquet.Value) ([]byte, error) { return appendFloat(b, float64(v.Float()), 32) }
	case format.Double:
		return func(b []byte, v *parquet.Value) ([]byte, error) { return appendFloat(b, v.Double(), 64) }
	}
	return l.bytes(e)
}

// bytes is appender for columns of bytes.
func (l *leaf) bytes(e *format.SchemaElement) appendFunc {
	fixed := l.kind == format.FixedLenByteArray
	switch e.LogicalType.Value.(type) {
	case *format.StringType, *format.EnumType:
		l.text = true
		return appendString
	case *format.JsonType:
		return appendJSON
	case *format.UUIDType:
		if !fixed || l.size != 16 {
			return nil
		}
		return appendUUID
	case *format.Float16Type:
		if !fixed || l.size != 2 {
			return nil
		}
		return appendHalf
	}
	switch {
	case converted(e, deprecated.UTF8), converted(e, deprecated.Enum):
		l.text = true
		return appendString
	case converted(e, deprecated.Json):
		return appendJSON
	}
	return appendBase64
}

func unsigned(e *format.SchemaElement) bool {
	if t, is := e.LogicalType.Value.(*format.IntType); is {
		return !t.IsSigned
	}
	return e.ConvertedType.Valid && e.ConvertedType.V >= deprecated.Uint8 && e.ConvertedType.V <= deprecated.Uint64
}

func appendFloat(b []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return b, errNotFinite
	}
	if bits == 32 {
		return strconv.AppendFloat(b, f, notation(f), -1, 32), nil
	}
	return strconv.AppendFloat(b, f, notation(f), -1, 64), nil
}

// notation returns the format of f, as JavaScript and encoding/json choose it.
func notation(f float64) byte {
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return 'e'
	}
	return 'f'
}

func appendString(b []byte, v *parquet.Value) ([]byte, error) {
	out, err := jsontext.AppendQuote(b, v.ByteArray())
	if err != nil {
		return b, errUTF8
	}
	return out, nil
}

func appendJSON(b []byte, v *parquet.Value) ([]byte, error) {
	text := jsontext.Value(v.ByteArray())
	if !text.IsValid() {
		return b, errJSON
	}
	return append(b, text...), nil
}

func appendBase64(b []byte, v *parquet.Value) ([]byte, error) {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v.ByteArray())
	return append(b, '"'), nil
}

func appendUUID(b []byte, v *parquet.Value) ([]byte, error) {
	id := v.ByteArray()
	if len(id) != 16 {
		return b, fmt.Errorf("it has a UUID of %d bytes", len(id))
	}
	b = append(b, '"')
	for i, end := range []int{4, 6, 8, 10, 16} {
		start := []int{0, 4, 6, 8, 10}[i]
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, id[start:end])
	}
	return append(b, '"'), nil
}

// appendHalf appends an IEEE 754 number of 16 bits.
func appendHalf(b []byte, v *parquet.Value) ([]byte, error) {
	half := uint16(v.ByteArray()[0]) | uint16(v.ByteArray()[1])<<8
	fraction, exponent := float64(half&0x3ff), int(half>>10&0x1f)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 0x1f:
		return b, errNotFinite
	default:
		f = math.Ldexp(1024+fraction, exponent-25)
	}
	if half&0x8000 != 0 {
		f = -f
	}
	return appendFloat(b, f, 32)
}

// decimalScale returns the scale if e is a decimal.
func decimalScale(e *format.SchemaElement) (scale int, is bool) {
	if t, is := e.LogicalType.Value.(*format.DecimalType); is {
		return int(t.Scale), true
	}
	return int(e.Scale.V), converted(e, deprecated.Decimal)
}

// decimal returns how a decimal becomes a number.
func (l *leaf) decimal(scale int) appendFunc {
	if scale < 0 || scale > maxDecimal {
		return nil
	}
	switch l.kind {
	case format.Int32:
		return func(b []byte, v *parquet.Value) ([]byte, error) {
			return appendDecimal(b, int64(v.Int32()), scale), nil
		}
	case format.Int64:
		return func(b []byte, v *parquet.Value) ([]byte, error) { return appendDecimal(b, v.Int64(), scale), nil }
	case format.ByteArray, format.FixedLenByteArray:
		return func(b []byte, v *parquet.Value) ([]byte, error) { return appendBytesDecimal(b, v.ByteArray(), scale) }
	}
	return nil
}

func appendDecimal(b []byte, unscaled int64, scale int) []byte {
	start := len(b)
	return point(strconv.AppendInt(b, unscaled, 10), start, scale)
}

// appendBytesDecimal appends the number whose two's complement, the highest byte first, is unscaled.
func appendBytesDecimal(b, unscaled []byte, scale int) ([]byte, error) {
	if len(unscaled) == 0 || len(unscaled) > maxDecimal {
		return b, fmt.Errorf("it has a decimal of %d bytes, which must have 1 to %d", len(unscaled), maxDecimal)
	}
	if len(unscaled) <= 8 {
		n := int64(int8(unscaled[0]))
		for _, c := range unscaled[1:] {
			n = n<<8 | int64(c)
		}
		return appendDecimal(b, n, scale), nil
	}
	n := new(big.Int).SetBytes(unscaled)
	if unscaled[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(unscaled))))
	}
	start := len(b)
	return point(n.Append(b, 10), start, scale), nil
}

// point puts the decimal point into the digits from start on, which may begin with a minus sign.
func point(b []byte, start, scale int) []byte {
	if scale == 0 {
		return b
	}
	if b[start] == '-' {
		start++
	}
	for len(b)-start <= scale {
		b = append(b, 0)
		copy(b[start+1:], b[start:])
		b[start] = '0'
	}
	b = append(b, 0)
	at := len(b) - 1 - scale
	copy(b[at+1:], b[at:])
	b[at] = '.'
	return b
}
