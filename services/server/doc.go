// Package server is an instance with lookups over HTTP, for programs that cannot link pkg/subscribe.
//
//	GET, HEAD /v1/datasets/{name}/records/{key}        a value, the bytes as they are
//	POST      /v1/datasets/{name}/records:batchGet     many values, all from one version
//	POST      /v1/datasets/{name}/scan                 rows of all records that match an expression, or of their groups
//	GET, HEAD /v1/datasets/{name}/records?country=KR   the records that meet conditions, from secondary indexes (FRESHET_INDEXES)
//	GET       /v1/datasets/{name}/changes              a change feed: versions as they are served, and their changes
//	GET       /v1/status                               the served versions, their freshness, and the state of refreshing
//	GET       /healthz, /readyz, /metrics
//
// A lookup reads the table that is served when the request arrives, never waits for a refresh, and never mixes two versions.
// The header Freshet-Version names the version, Freshet-Version-Id its id, and Freshet-State the state of the dataset.
//
// A lookup with a token (Freshet-At-Least) reads the token's version or one that has it in its history, and waits a bounded time for it. If it
// is not served then, the answer is 503 with Retry-After, and 412 if no wait helps, because the token is of another history.
//
// A refusal is a problem document. The header Freshet-Error has its kind, for HEAD and for clients that read no JSON: unknown-dataset and
// unknown-key have the same status.
//
// # Readiness
//
// An instance with a version of every dataset is ready and stays ready, because stale answers are better than none. If they are
// not, set FRESHET_READY_MAX_LAG: an instance that has known a newer version for longer without serving it is then not ready until
// it does.
//
// Being blind makes no instance unready, whatever the setting. A blind instance cannot know that it is behind. The cause, NATS
// or the publisher being down, makes all instances blind at the same time, and the load balancer would have none left. Alert on
// it with freshet_dataset_state or `freshet status --fail-if-stale`.
//
// The file openapi.yaml in this folder describes the interface.
package server
