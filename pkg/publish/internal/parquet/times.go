package parquet

import (
	"math"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

const (
	dayFormat  = "2006-01-02"
	timeFormat = "15:04:05.999999999"
	// julianDay is the day of 1970-01-01.
	julianDay  = 2_440_588
	secondsDay = 24 * 60 * 60
)

// timeOf is the type of a column of dates or times.
type timeOf struct {
	date, clock bool  // a day; a time of day; neither is a timestamp
	unit        int64 // of which a second has so many
	utc         bool
}

// timeType returns the type if e has dates or times.
func timeType(e *format.SchemaElement) (of timeOf, is bool) {
	switch t := e.LogicalType.Value.(type) {
	case *format.DateType:
		return timeOf{date: true}, true
	case *format.TimeType:
		return timeOf{clock: true, unit: unitOf(t.Unit), utc: t.IsAdjustedToUTC}, true
	case *format.TimestampType:
		return timeOf{unit: unitOf(t.Unit), utc: t.IsAdjustedToUTC}, true
	}
	if !e.ConvertedType.Valid {
		return timeOf{}, false
	}
	switch e.ConvertedType.V { // these are adjusted to UTC
	case deprecated.Date:
		return timeOf{date: true}, true
	case deprecated.TimeMillis:
		return timeOf{clock: true, unit: 1e3, utc: true}, true
	case deprecated.TimeMicros:
		return timeOf{clock: true, unit: 1e6, utc: true}, true
	case deprecated.TimestampMillis:
		return timeOf{unit: 1e3, utc: true}, true
	case deprecated.TimestampMicros:
		return timeOf{unit: 1e6, utc: true}, true
	}
	return timeOf{}, false
}

// unitOf returns how many units a second has; 0 for an unknown unit.
func unitOf(u format.TimeUnit) int64 {
	switch u.Value.(type) {
	case *format.MilliSeconds:
		return 1e3
	case *format.MicroSeconds:
		return 1e6
	case *format.NanoSeconds:
		return 1e9
	}
	return 0
}

// time returns how a date or a time becomes a string; nil if the column is of another type.
func (l *leaf) time(of timeOf) appendFunc {
	switch {
	case of.date && l.kind == format.Int32:
		return func(b []byte, v *parquet.Value) ([]byte, error) {
			return appendTime(b, time.Unix(int64(v.Int32())*secondsDay, 0), dayFormat)
		}
	case of.date || of.unit == 0 || l.kind != format.Int32 && l.kind != format.Int64 || l.kind == format.Int32 && !of.clock:
		return nil
	}
	layout := dayFormat + "T" + timeFormat
	if of.clock {
		layout = timeFormat
	}
	if of.utc {
		layout += "Z"
	}
	number := func(v *parquet.Value) int64 { return v.Int64() }
	if l.kind == format.Int32 {
		number = func(v *parquet.Value) int64 { return int64(v.Int32()) }
	}
	return func(b []byte, v *parquet.Value) ([]byte, error) {
		n := number(v)
		if of.clock && (n < 0 || n >= secondsDay*of.unit) {
			return b, errTime
		}
		return appendTime(b, time.Unix(n/of.unit, n%of.unit*(1e9/of.unit)), layout)
	}
}

// appendInt96 appends a timestamp of Impala or Spark: the nanoseconds of a day, and the day.
func appendInt96(b []byte, v *parquet.Value) ([]byte, error) {
	i := v.Int96()
	nanos := int64(uint64(i[0]) | uint64(i[1])<<32)
	day := int64(i[2])
	if nanos < 0 || nanos >= secondsDay*1e9 || i[2] > math.MaxInt32 {
		return b, errTime
	}
	return appendTime(b, time.Unix((day-julianDay)*secondsDay, nanos), dayFormat+"T"+timeFormat+"Z")
}

func appendTime(b []byte, t time.Time, layout string) ([]byte, error) {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return b, errYear
	}
	b = append(b, '"')
	b = t.AppendFormat(b, layout)
	return append(b, '"'), nil
}
