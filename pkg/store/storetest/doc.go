// Package storetest is the conformance suite of [store.Store]. Every implementation passes it.
//
// The suite runs child processes that race for versions, and kills child processes while they write. A child process runs the test
// binary, so a package that uses the suite must call [Main] in its TestMain.
package storetest
