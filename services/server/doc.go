// Package server is the service for those who cannot link pkg/subscribe: an instance whose lookups go over HTTP.
//
//	GET, HEAD /v1/datasets/{name}/records/{key}        a value, the bytes as they are
//	POST      /v1/datasets/{name}/records:batchGet     many values, all of one version
//	GET       /v1/status                               what is served, how fresh it is, and how refreshing goes
//	GET       /healthz, /readyz, /metrics
//
// A lookup reads the table that is served when it comes. It never waits for a refresh and never sees parts of two
// versions; the header Freshet-Version names the version.
//
// # Readiness
//
// An instance that has a version of every dataset is ready, and stays so: stale answers are better than none, and an
// instance knows best itself how stale it is. FRESHET_READY_MAX_LAG is for those to whom they are not: then an instance
// that has known of a newer version for longer, and does not serve it, is not ready until it does.
//
// Being blind makes no instance unready, whatever the setting. Who hears nothing cannot know that it is behind, and what
// makes one instance blind, NATS or the publisher being down, makes all of them blind at the same time: the load balancer
// would be left with none. It is a reason to wake somebody, by freshet_dataset_state or `freshet status --fail-if-stale`.
//
// openapi.yaml beside this file describes the interface.
package server
