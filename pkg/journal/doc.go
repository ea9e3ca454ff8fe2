// Package journal keeps the settings of datasets in their journals in the store, appends other entries, and reads the journals.
//
// A journal is a list of small numbered records that say what was changed about a dataset that is no version: when, by whom and why. The
// store is the truth about it, as about versions. An entry exists exactly when its record was created with put-if-absent, so of
// concurrent changes each is based on the one before. A dataset may have a journal before it has a version: its settings then hold from
// the first publish on.
//
// Each entry is also sent on NATS, for programs that follow what happens. NATS may be down, or lose what it has: then the change is in
// the store, and [Result.Warnings] says that it was not announced.
//
// [Journal.Of] is cheap enough for each publish: it looks for a newer entry at most once a second, and reads entries only if there is
// one.
package journal
