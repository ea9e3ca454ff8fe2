package input

// Line decodes single texts of NDJSON as the source of an input does that has all records of a dataset. It is for one goroutine.
type Line struct {
	objects *objects
	batch   Batch
}

// NewLine returns a Line for records whose keys are made as key says. A member called remove must not be true.
func NewLine(key Key, remove string) *Line {
	return &Line{objects: newObjects(key, apply([]Option{NoRemovals(remove)}))}
}

// Decode returns the key and the value of the record in a text without blanks around it. Both are valid until the next call. The error
// is a *Refusal.
func (l *Line) Decode(text []byte) (key, value []byte, err error) {
	l.batch.data, l.batch.spans = text, append(l.batch.spans[:0], span{end: len(text), line: 1})
	return l.objects.Decode(&l.batch, 0)
}
