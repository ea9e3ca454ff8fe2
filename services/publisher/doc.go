// Package publisher is the service that pipelines publish through: records come in over HTTP, a version comes out.
//
//	POST /v1/datasets/{name}/versions            publish the body's records as the next version
//	PATCH /v1/datasets/{name}                    publish the body's changes as the next version
//	GET  /v1/datasets/{name}/versions            the versions, newest first
//	GET  /v1/datasets/{name}/versions/{version}  one version record
//	GET  /v1/datasets                            the datasets, with their newest versions
//	GET  /healthz, /readyz, /metrics
//
// A body is never held in memory: it streams through pkg/publish into a temporary folder and from there into the store.
// What is refused is refused whole; see pkg/publish for what a version's being committed means.
//
// A patch costs what it changes. The snapshots that become due by patches are written in the background, one at a time,
// from the store to the store.
//
// It tells all instances, every FRESHET_BEACON_EVERY, the newest version of every dataset: the beacon. At
// the start, whenever NATS is back, and whenever a beacon's round finds the event log or the catalog behind the store, it
// completes them: the repair.
//
// openapi.yaml beside this file describes the interface.
package publisher
