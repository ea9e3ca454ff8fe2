// Package e2e holds tests only: they run freshet's own programs against real redis-server, nats-server and S3
// processes, and look at them from outside, over HTTP, as users do.
//
// # Trials
//
// The tests whose names begin with TestFault are trials: each takes something away, or makes it wrong, while every instance is
// read and asked for its status the whole time, and says in its comment what holds all the same. What holds in all of them is
// written at the type trial. Those that need the programs to stand still or to fail at one exact place run builds with
// failpoints, and two need a disk that can be filled: they mount a small tmpfs, as root or in namespaces of their own.
//
// When any trial has run, a table of all follows the tests' output: the fault, the time to heal, and the states that instances
// said meanwhile. FAULTS_REPORT names a file to write it to as well, for go test shows no output of a package that passes unless
// it is told -v:
//
//	FAULTS_REPORT=faults.txt go test -run TestFault ./services/e2e
package e2e
