// Package web is what freshet's HTTP services have in common: routes with problem documents (RFC 9457) for every
// refusal, request logs, metrics, health, and a server that reports its address once bound and stops gracefully.
//
// A handler returns an error instead of writing one. A [*Problem] is sent as it is; any other error is logged and
// sent as 500 without its text. A handler that has begun its response and cannot finish it panics with
// [http.ErrAbortHandler], which closes the connection, so that no client takes a part for the whole.
package web
