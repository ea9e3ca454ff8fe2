// Package web is the HTTP layer of freshet's services: routes with problem documents (RFC 9457), request logs, metrics, health
// checks, and a server that reports its bound address and stops gracefully.
//
// A handler returns an error instead of writing one. The [Mux] sends a [*Problem] as it is. It logs any other error and sends
// status 500 without the error's text. A handler that cannot finish a response panics with [http.ErrAbortHandler]: the connection
// closes, so that no client takes a part of the response for all of it.
//
// A client that is still sending its body receives the answer. The Mux sends the answer and then discards the rest of the body,
// within these limits:
//
//   - an average rate of at least 1 KiB a second, and pauses of at most 10 seconds
//   - at most 256 MiB and half an hour
//   - 64 bodies at a time; of further bodies, what arrives within half a second
//
// Beyond the limits, and when the server stops, the server half-closes the connection and closes it half a second later. It
// keeps the connection if the body has ended. A request whose body is being discarded counts as answered: it is logged and holds
// no slot of its handler.
package web
