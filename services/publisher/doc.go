// Package publisher is the service that pipelines publish through: records come in over HTTP, a version comes out.
//
//	POST /v1/datasets/{name}/versions            publish the body's records as the next version
//	PATCH /v1/datasets/{name}                    publish the body's changes as the next version
//	POST /v1/datasets/{name}/rollback            publish the content of an earlier version as the next version
//	POST /v1/datasets/{name}/delete              publish a version without records, which says that the dataset is deleted
//	GET  /v1/datasets/{name}/versions            the versions, newest first
//	GET  /v1/datasets/{name}/versions/{version}  one version record
//	GET  /v1/datasets                            the datasets, with their newest versions
//	GET  /v1/datasets/{name}/settings            the settings of the dataset
//	PATCH /v1/datasets/{name}/settings           change settings
//	GET  /v1/datasets/{name}/events              what happened to the dataset, in the order of time, one event a line
//	GET  /v1/events                              what happened to all datasets
//	GET  /v1/datasets/{name}/records/{key}       one record of any version
//	GET  /v1/datasets/{name}/records:export      all records of a version
//	GET  /v1/datasets/{name}/keys                the keys of a version
//	GET  /v1/datasets/{name}/diff                the changes between two versions
//	GET  /v1/datasets/{name}/history/{key}       one record through the versions
//	GET  /v1/datasets/{name}/size                what a version takes in the store and in memory
//	POST /v1/verify                              verify the store, and repair it
//	POST /v1/datasets/{name}/verify              verify one dataset, and repair it
//	GET  /healthz, /readyz, /metrics
//
// A body streams through pkg/publish into a temporary folder and from there into the store; it is never in memory as a whole. An input is
// accepted or refused as a whole. Package publish defines when a version is committed.
//
// The cost of a patch depends on the number of its changes. The publisher writes the snapshots that patches make due in the background, one
// at a time, from the store to the store.
//
// Every FRESHET_BEACON_EVERY the publisher sends a beacon, the newest version of every dataset, to all instances. It repairs the event log
// and the catalog at the start, when NATS is back, and when a round of the beacon finds them behind the store.
//
// openapi.yaml in this folder describes the interface.
package publisher
