// Package lane bounds heavy work, so that lookups never wait for it. A process has two lanes: the CPU lane for work that computes
// (decoding, indexing, scans, eager views), and the I/O lane for work that waits for servers (pulls, Redis, NATS). A full lane refuses
// work at once and says when to try again. One lane being full does not affect the other.
//
// # Order
//
// A place goes to freshet's own work first ([Lane.Enter]), and then to the functions of [Lane.Do], each in the order of their calls. Own
// work consists of units of about a millisecond. While functions of Do wait, every ninth place goes to one of them.
//
// A function runs on its caller's goroutine and calls [Yield] about every millisecond. Yield passes the place on
//
//   - from a function of Do to own work that waits, at once;
//   - to any that wait, after a [Slice];
//   - if the lane has become narrower ([Lane.SetWidth]).
//
// A function that passes on its place waits in the queue of its kind again.
//
// # Bounds
//
// At most Config.Queue functions of Do wait, each for at most Config.Wait; the others are refused ([ShedError]). A function that does not
// yield shares its processor only as Go's scheduler makes it, every 10 ms. It keeps its place, so that other functions of Do wait for
// it. Own work waits for Config.Hold, and then gets the place; the function goes on without one until it yields. Until then the lane
// admits one function of Do less: their number stays bounded. Own work that does not yield, such as an eager view whose decode function
// hangs, loses its place in the same way, to any function that waits.
//
// A function that passed on its place has begun: it keeps its memory and goes on later. So up to Config.Width and Config.Queue functions of Do
// together have begun, and after a surge a new one takes its turns with all of them. Bound functions that need much memory apart.
// Of functions that do not yield, Config.Width run at a time.
//
// A function may start goroutines. They share its place, and end before the function returns.
package lane
