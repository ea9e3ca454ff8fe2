// Package storetest is the conformance suite of [store.Store]: every backend, and every decorator of one, passes it.
//
// It runs child processes that race for versions and that are killed in the middle of their work. These are the test
// binary itself, so a package that uses the suite has to hand its TestMain to [Main].
package storetest
