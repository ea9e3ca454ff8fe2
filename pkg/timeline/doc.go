// Package timeline reads what happened to datasets, in the order of time: versions, rollbacks, and journal entries such as changes of
// settings.
//
// [Reader.Read] reads the records of the store, because the event log may have lost old events, and journal entries are in no log. A read
// ends with a [Positions], from which a later read continues without a gap and without a repeat. [Follow] reads again whenever NATS
// reports a change. [Event.Line] and [ParseLine] are the form of events on the wire: a line of JSON each, versions and entries as
// CloudEvents.
//
// # Order
//
// The events of a dataset's versions are in the order of their numbers, and so are those of its journal. Between these sequences the
// times decide. The times are those of the publishers' clocks: if a clock was wrong, an event may be next to others than those that were
// simultaneous, but none is lost.
package timeline
