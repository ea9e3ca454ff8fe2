//go:build !linux

package resp

// transport serves connections.
var transport = runStreams
