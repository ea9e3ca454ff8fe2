//go:build !race

package subscribe_test

const raceBytes = 0
