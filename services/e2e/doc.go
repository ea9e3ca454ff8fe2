// Package e2e holds only tests. They run freshet's programs with real redis-server, nats-server and S3 processes, and observe them
// over HTTP, as users do.
//
// # Trials
//
// Tests whose names begin with TestFault are trials. A trial injects a fault while clients read every instance and query its status.
// The comment of each test has the invariants of its fault; the comment of type trial has the invariants of all trials. Trials that
// stop a program at an exact place, or make it fail there, run builds with failpoints. Two trials fill a disk: they mount a small
// tmpfs, as root or in namespaces.
//
// After the trials, a table of all faults follows the tests' output: the fault, the time to recover, and the states that instances
// reported. FAULTS_REPORT names a file that also receives the table, because go test hides the output of a package that passes unless
// it runs with -v:
//
//	FAULTS_REPORT=faults.txt go test -run TestFault ./services/e2e
package e2e
