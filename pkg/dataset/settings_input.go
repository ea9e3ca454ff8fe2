package dataset

// InputRules say how the records of a dataset are read from its input.
type InputRules struct{}

// inputSettings are the settings of the group [InputRules].
var inputSettings = []Setting{}

// Check returns an error that names the member if no input can meet the rules.
func (InputRules) Check() error { return nil }
