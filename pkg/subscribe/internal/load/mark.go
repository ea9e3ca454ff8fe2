package load

import (
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/subscribe/internal/bootguard"
)

// guardMark is the boot guard's mark of a version, from before the load until the version is served or abandoned.
type guardMark struct {
	guard *bootguard.Guard
	rec   dataset.VersionRecord

	pending bool            // set, and the version is neither served nor abandoned yet
	mark    *bootguard.Mark // nil if the guard could not set one
	err     error           // why not, or why serve failed
	settle  func() error    // what the guard has to do after serve; nil before
}

// set sets the mark, unless it is set.
func (m *guardMark) set() {
	if !m.pending {
		m.pending = true
		m.mark, m.err = m.guard.Try(m.rec)
	}
}

// adopt sets the mark for a version with the content of the version of, which is or was served.
func (m *guardMark) adopt(of dataset.VersionID) {
	m.pending = true
	m.mark, m.err = m.guard.Adopt(of, m.rec)
}

// serve tells the guard that the version is served.
func (m *guardMark) serve() {
	m.pending = false
	settle, err := m.guard.Serve(m.rec, m.mark)
	m.settle, m.err = settle, oneline.Join(m.err, err)
}

// undo removes the mark of a version that will not be served.
func (m *guardMark) undo() {
	if m.pending {
		m.pending = false
		m.guard.Undo(m.mark)
	}
}
