// Package delta measures what a refresh by deltas costs, against loading the whole snapshot: bytes, time, memory and what
// lookups cost afterwards, on made rows; bytes on a real dataset; a burst of small versions; and patches from the request
// to the instances that serve them, with real servers and freshet's own programs. Each measurement has a process of its
// own. It prints each bound of the design with what was measured, and fails if one is missed.
//
// The deltas are written here, because a publisher would take minutes for them; a test holds that they are byte for
// byte those of a publisher.
package delta
