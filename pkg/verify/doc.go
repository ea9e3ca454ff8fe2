// Package verify reads a store to its end and reports what is lost or damaged in it, and what still serves it.
//
// A [Verifier] checks for each dataset:
//
//   - Each version record decodes, has the id of its content, and names the version before. Numbers have no gap.
//   - Each object that a version record or a snapshot record names exists, and has its size and digest.
//   - The records of each version have the state checksum and the payload bytes in its version record. The Verifier applies the deltas
//     that follow a snapshot to it in one pass, which proves every version on the way, at the cost of its delta. The deltas after a lost
//     snapshot, or after a lost delta, prove less: that each is a valid file and leads from the state before to the next one.
//   - Each journal entry exists and decodes, also those of datasets without a version.
//   - The event log and the catalog end with the newest version of the store.
//
// # Cost
//
// A Verifier reads each object of a dataset once, however many records name it. Its memory does not depend on the size of the objects: it
// streams a snapshot from the store, and copies the deltas that follow it to temporary files. It keeps some facts of the last
// [dataset.MaxDeltas] versions, a note for each of the last 65,536 objects, and its findings.
//
// # Concurrent publishers
//
// A Verifier may run while publishers commit, compact and repair. It checks the versions that exist when it begins with a dataset. It
// reads again what looks damaged before it reports it, so that a repair in progress is no finding.
//
// A Verifier writes nothing. [freshet.dev/pkg/publish.Publisher.Verify] also repairs.
package verify
