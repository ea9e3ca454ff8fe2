// Package resp compares the port in Redis' protocol of a freshet-server with a redis-server that has the same data, in the same run:
// requests a second and processor time a request with redis-benchmark, and latencies of one client in Python and in Node, which also use
// freshet's HTTP.
package resp
