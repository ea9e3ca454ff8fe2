package dataset

// Retention says which earlier versions of a dataset keep their objects.
type Retention struct{}

// keepSettings are the settings of the group [Retention].
var keepSettings = []Setting{}

// Check returns an error that names the member if the retention is impossible.
func (Retention) Check() error { return nil }
