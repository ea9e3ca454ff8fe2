// Package fleet is how instances say what they serve, and how everyone else finds out: over core NATS, without a
// registry to keep and to clean.
//
//	freshet.v1.instances.status        a request to all instances; each answers with its [Status], of one dataset if the
//	                                   request is {"dataset": "prices"}
//	freshet.v1.reports.<dataset>       each instance sends a [Report] when a refresh ends or a state changes
//
// In a namespace "freshet.v1.ns.<namespace>." takes the place of "freshet.v1.".
//
// Both are JSON. A report is sent once and may be lost: what counts is the status, reports only save asking again.
//
// Instances are services of NATS as well, under the name "freshet-instance", so that its own command line shows them: `nats
// micro ls`, and `nats micro info freshet-instance ID` with the instance's name and a [Summary] of each dataset. In a namespace
// the name is "freshet-instance-<namespace>".
package fleet
