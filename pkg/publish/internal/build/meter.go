package build

// Phase is a stage of a publish. Phases follow one another in the order of their values.
type Phase uint8

// The phases.
const (
	Reading Phase = iota + 1
	Sorting
	Storing
	Announcing
)

// Progress is how far a publish is.
type Progress struct {
	Phase     Phase
	BytesRead int64
	Records   uint64
}

// Meter reports the progress of one publish.
type Meter struct {
	call  func(Progress)
	bytes int64
	last  Progress
}

// NewMeter returns a Meter that calls call.
func NewMeter(call func(Progress)) *Meter { return &Meter{call: call} }

// Report reports progress, but never less than before: after a lost race, and for a snapshot that turns out to be due, the
// records are read again.
func (m *Meter) Report(phase Phase, records uint64) {
	now := Progress{Phase: phase, BytesRead: m.bytes, Records: records}
	if phase < m.last.Phase || phase == m.last.Phase && records < m.last.Records {
		return
	}
	m.last = now
	m.call(now)
}
