//go:build race

package subscribe_test

// raceBytes is how much more resident memory is allowed under the race detector. Its own memory is in that number, and varies:
// ten thousand refreshes added 13 MB with it and 1 MB without, the heap being the same, and another run began at 413 MB and
// ended at 162. That it keeps memory of goroutines that have ended, of which a refresh has two, is a guess. Without the race
// detector, as in scripts/test --quick, nothing is added.
const raceBytes = 32 << 20
