// Package store keeps the truth of freshet: objects and version records, in a folder or in an S3 bucket.
//
// An object is named by the SHA-256 of its bytes and never changes. A version exists exactly when its version record
// is in the store; the record is created if absent and is the commit, so of any number of concurrent publishers
// exactly one creates a given version. Versions of a dataset are 1, 2, 3 ... without a gap, and are never deleted.
//
// # Layout
//
// Both backends use the same names, so that a store can be copied from one to the other with any tool that copies
// files (objects before versions, so that no version comes before what it names):
//
//	objects/<first 2 hex digits of the digest>/<digest, 64 hex digits>    an object
//	versions/<dataset>/<version, 20 decimal digits>.json                  a version record
//	snapshots/<dataset>/<version, 20 decimal digits>.json                 a snapshot record
//	claims/<dataset>/<version, 20 decimal digits>.json                    a claim of a publisher
//	store.json                                                            the store id
//	tmp/                                                                  unfinished uploads, never read
//
// The store id is drawn by the first publisher, and every version record that a publisher writes since names it: if store.json is lost,
// the next publisher puts it back from there. A copy of a store has the id of the original, and must not be used beside it.
//
// A snapshot record names a snapshot that was written after the version was committed, to shorten the chains of the
// versions to come. Nothing is lost where one is missing. A claim is there while a publish that others overtook is under way, and
// need not be copied: see [freshet.dev/pkg/dataset.Claim]. Names of any other form in these folders are ignored.
//
// # Durability
//
// When PutObject or PutVersion return nil, what they wrote survives a crash of the process and of the machine (in a
// folder: the file and every folder on the way to it are synced). When they return an error or the process dies
// within them, nothing half-written can be read as an object or version record. What a dead upload leaves is removed
// by a later writer once it is a day old.
//
// An object that is lost from the store, or has another size than it should, is put back by the next PutObject of it.
// PutObject looks at the size only, not to read what may be gigabytes. RepairObject compares the bytes too, and replaces an
// object of the right size that was damaged at rest. A publish of all records of a dataset verifies what is there, and
// repairs it: see package publish. An instance that pulls a damaged object refuses it, since the digest is its name.
//
// # Cost
//
// The newest version is found from the newest that this Store saw before. In a folder that takes two looks for a file
// when nothing is new, 2*log2(n) more when n versions are, and at a dataset's first call one listing of its folder (5 ms
// for 10,000 versions). In a bucket it takes one list request as long as at most 1,000 versions are new (also at the
// first call), else about 4*log2(n/1000) more; the record itself is read once. That of every dataset, which Newest returns,
// takes one list request for each 1,000 datasets and, for each dataset, one HEAD of the version after the one it knows
// of, and a read of each record that it has not seen; a HEAD costs a twelfth of a list request at Amazon's. PutObject holds at most 64 MiB in
// memory for a bucket (more only for objects above 160 GB, whose parts are larger), and nearly nothing for a folder.
//
// # URLs
//
//	dir:///abs/path    dir://rel/path
//	s3://bucket[/prefix][?endpoint=URL][&region=NAME][&path-style=true|false]
//
// See [Open].
package store
