// Package server is the service for those who cannot link pkg/subscribe: an instance whose lookups go over HTTP.
//
//	GET, HEAD /v1/datasets/{name}/records/{key}        a value, the bytes as they are
//	POST      /v1/datasets/{name}/records:batchGet     many values, all of one version
//	GET       /v1/datasets                             what is served, and how refreshing goes
//	GET       /healthz, /readyz, /metrics
//
// A lookup reads the table that is served when it comes. It never waits for a refresh and never sees parts of two
// versions; the header Freshet-Version names the version.
//
// openapi.yaml beside this file describes the interface.
package server
