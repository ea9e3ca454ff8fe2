package table

import (
	"fmt"
	"testing"
)

// The estimate is within 10 % of real tables, from one record to some hundred thousand.
func TestEstimateBytes(t *testing.T) {
	for _, c := range []struct{ records, valueBytes int }{
		{1, 0},
		{1, 100},
		{1, 10_000},
		{1, 1 << 20},
		{10, 30},
		{100, 100},
		{1000, 0},
		{1000, 20},
		{1000, 100_000},
		{3000, 130},
		{5000, 50},
		{10_000, 300},
		{30_000, 1000},
		{100_000, 0},
		{100_000, 8},
		{100_000, 100},
		{300_000, 100},
		{150_000, 100},
		{20_000, 5000},
		{2000, 20_000},
	} {
		t.Run(fmt.Sprintf("%d of %d bytes", c.records, c.valueBytes), func(t *testing.T) {
			m := numberedRecords(c.records, c.valueBytes)
			tab := tableOf(t, m)
			got := EstimateBytes(uint64(tab.Len()), uint64(tab.PayloadBytes()))
			t.Logf("estimate %d, table %d: %+.1f %%", got, tab.Bytes(), 100*float64(got-tab.Bytes())/float64(tab.Bytes()))
			if got < tab.Bytes()*9/10 || got > tab.Bytes()*11/10 {
				t.Errorf("the estimate is %d, the table has %d", got, tab.Bytes())
			}
		})
	}
	if got, empty := EstimateBytes(0, 0), tableOf(t, nil).Bytes(); got != empty {
		t.Errorf("the estimate of an empty table is %d, it has %d", got, empty)
	}
}
