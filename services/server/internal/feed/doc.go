// Package feed sends the versions that a dataset serves, and the records that they change, to readers over HTTP: as server-sent events or as
// lines of JSON.
//
// # Events
//
// A feed is a sequence of batches. A batch ends with the event "version", and a reader applies it as a whole:
//
//	reset     the reader drops what it has; the next version has all records
//	change    a record that the version added, changed or removed, if the reader wants records
//	version   the version is served
//
// Outside of batches come "deleted" (the dataset was deleted; its table may stay), "heartbeat" and "end" (the server stops). The position of
// a reader is the number and the id of its last version. It is the id of the event, so that an EventSource sends it back as Last-Event-ID
// when it connects again. A reset sets it to 0: a reader that lost the connection in the middle of the records after a reset has no version.
//
// # Where a feed begins
//
// Without a position a feed begins with the served version, and has no records of it. Position 0 is that of a reader that has nothing: if it
// wants records, it gets a reset and all of them. At any other position the instance sends the changes since, if it has the table of that
// version (see [subscribe.Dataset.Since]), and otherwise a reset with the reason. Numbers alone name no version: a position with the number of
// the served version and another id is of another history.
//
// An instance may serve an older version than the reader has, because the reader came from an instance that was faster. The feed then waits
// for a moment before it resets.
//
// # Slow readers
//
// No version waits for a reader. A reader that is behind by several versions gets the changes from the one it has to the newest. The feed is
// cut if the reader does not take a part of [chunk] within Config.Stall, or if it still takes records of a table that has not been served for
// Config.Behind: until then its table stays in memory. Records are compared and encoded in the CPU lane, in parts, and written outside of it.
package feed
