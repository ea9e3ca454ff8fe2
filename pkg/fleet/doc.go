// Package fleet lets instances report what they serve, and other programs query them. It uses core NATS, and needs no
// registry.
//
//	freshet.v1.instances.status        a request to all instances; each answers with its [Status], of one dataset if the
//	                                   request is {"dataset": "prices"}
//	freshet.v1.instances.get.<run>     a request to one run of an instance for the records of some keys, see [Get]; the
//	                                   instance answers with what it serves if its configuration allows that
//	freshet.v1.instances.replay.<run>  a request to one run of an instance to take the version that it serves in again, see [Replay];
//	                                   the instance answers at once with its progress, also to a repeated request
//	freshet.v1.reports.<dataset>       each instance sends a [Report] when a refresh ends or a state changes
//
// In a namespace "freshet.v1.ns.<namespace>." replaces "freshet.v1.".
//
// All are JSON. A report is sent once and may be lost. The status is authoritative; reports only save repeated queries.
//
// Instances have labels. A [Selection] chooses instances by their names or labels.
//
// Instances are also NATS services with the name "freshet-instance", so that the command line of NATS shows them: `nats
// micro ls`, and `nats micro info freshet-instance ID` with the instance's name and a [Summary] of each dataset. In a namespace
// the name is "freshet-instance-<namespace>".
package fleet
