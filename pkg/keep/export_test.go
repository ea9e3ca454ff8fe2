package keep

import "time"

// SetNow makes now the clock of the process.
func (c *Collector) SetNow(now func() time.Time) { c.now = now }
