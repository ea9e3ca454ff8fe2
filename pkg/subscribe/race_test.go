//go:build race

package subscribe_test

// raceBytes is how much resident memory the race detector may take beside the program's: it keeps a little of every
// goroutine that has ended, some 1.5 KB, and each refresh has two.
const raceBytes = 32 << 20
