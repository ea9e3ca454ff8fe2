// Package web is what freshet's HTTP services have in common: routes with problem documents (RFC 9457) for every
// refusal, request logs, metrics, health, and a server that reports its address once bound and stops gracefully.
//
// A handler returns an error instead of writing one. A [*Problem] is sent as it is; any other error is logged and
// sent as 500 without its text. A handler that has begun its response and cannot finish it panics with
// [http.ErrAbortHandler], which closes the connection, so that no client takes a part for the whole.
//
// An answer reaches a client that is still sending: the [Mux] sends the answer, and then drops what is left of the request's body.
// The least rate is 1 KiB a second on average and the longest pause 10 seconds; 256 MiB and half an hour are the most. Past these
// bounds, and when the server stops, the server half-closes the connection, and closes it half a second later. Of 64 bodies
// at a time so much is dropped; of more, what comes in half a second. The connection is kept if the body has ended. Such a
// request counts as answered: it is logged, and holds no slot of its handler.
package web
