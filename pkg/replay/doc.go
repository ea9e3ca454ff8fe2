// Package replay takes versions in again: on instances, or by a new consumer of events.
//
// [Replayer.Instances] makes chosen instances take the version that they serve in again: callbacks run, views are rebuilt, and a full replay
// pulls the snapshot. Each instance reports what it did. [Replayer.Subject] hands the events of versions, in order and at a bounded rate, to
// a NATS subject, from which a consumer builds its state. The events come from the version records in the store, so that they are complete
// whatever the event log has lost.
//
// Each replay is first written to the dataset's journal, with the caller, the reason and the selection. Replays may be repeated: with the
// same request id, an instance that did it does nothing.
package replay
