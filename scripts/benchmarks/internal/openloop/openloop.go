// Package openloop sends lookups at fixed times and measures each from the time at which it was to be sent. A lookup that comes late
// because those before it were slow counts with its whole delay (coordinated omission is counted).
package openloop

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms resolve latencies of 1 ns to 2 minutes to three digits.
const (
	longest = int64(2 * time.Minute)
	digits  = 3
)

// Latencies is a histogram of nanoseconds. Its JSON form is compressed.
type Latencies struct{ *hdrhistogram.Histogram }

// NewLatencies returns an empty histogram.
func NewLatencies() Latencies { return Latencies{hdrhistogram.New(1, longest, digits)} }

// Record adds a latency.
func (l Latencies) Record(d time.Duration) {
	_ = l.RecordValue(min(max(int64(d), 1), longest)) // an error means a value out of range
}

// Add adds the latencies of other.
func (l Latencies) Add(other Latencies) {
	if other.Histogram != nil {
		l.Merge(other.Histogram)
	}
}

// Quantile returns the latency that the given percentage of lookups does not exceed, 0 without lookups.
func (l Latencies) Quantile(percent float64) time.Duration {
	if l.Histogram == nil || l.TotalCount() == 0 {
		return 0
	}
	return time.Duration(l.ValueAtQuantile(percent))
}

// MarshalJSON implements [json.Marshaler].
func (l Latencies) MarshalJSON() ([]byte, error) {
	if l.Histogram == nil {
		l = NewLatencies()
	}
	b, err := l.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, err
	}
	return json.Marshal(b)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *Latencies) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return err
	}
	h, err := hdrhistogram.Decode(b)
	if err != nil {
		return fmt.Errorf("decode a histogram: %w", err)
	}
	l.Histogram = h
	return nil
}

// Pace are the times of lookups: Rate a second from Start on.
type Pace struct {
	Start time.Time
	Rate  float64
}

// At returns the time of lookup n, which counts from 0.
func (p Pace) At(n int64) time.Time {
	return p.Start.Add(time.Duration(float64(n) * float64(time.Second) / p.Rate))
}
