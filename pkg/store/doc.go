// Package store defines the store of freshet: objects and version records, which are the truth about every dataset.
//
// [Store] is the interface. Two packages implement it: [freshet.dev/pkg/store/dir] in a folder and [freshet.dev/pkg/store/s3] in an
// S3 bucket. A program that gets the URL of its store from its configuration opens it with [freshet.dev/pkg/store/storeurl], which
// links both. A program that imports one implementation links no other.
//
// An object is named by the SHA-256 of its bytes and never changes. A version exists exactly when its version record is in the store.
// Creating that record, which fails if the record exists, is the commit. So exactly one of any number of concurrent publishers creates
// a given version. Versions of a dataset are 1, 2, 3 ... without a gap, and are never deleted.
//
// # Layout
//
// Both implementations use the same names, so any tool that copies files can copy a store from one to the other. Copy objects before
// versions, so that no version appears before the objects that it names:
//
//	objects/<first 2 hex digits of the digest>/<digest, 64 hex digits>    an object
//	versions/<dataset>/<version, 20 decimal digits>.json                  a version record
//	snapshots/<dataset>/<version, 20 decimal digits>.json                 a snapshot record
//	claims/<dataset>/<version, 20 decimal digits>.json                    a claim of a publisher
//	journal/<dataset>/<number, 20 decimal digits>.json                    a journal entry
//	gc/<name>.json                                                        a note of a garbage collection or a publisher
//	store.json                                                            the store id
//	tmp/                                                                  unfinished uploads, never read
//
// The first publisher draws the store id at random, and every later version record names it. If store.json is lost, the next publisher
// restores it from the records. A copy of a store has the id of the original, and must not be used at the same time as the original.
//
// A snapshot record names a snapshot that was written after its version was committed, to shorten the chains of later versions. A
// missing snapshot record loses no data. Notes are no data: see [Collection]. Objects that no version needs are removed: see
// [freshet.dev/pkg/keep]. The journal of a dataset has its settings: a copy without it loses them. Earlier releases have no
// journals and ignore the folder. A claim exists while a publish that other publishers overtook is in progress, and need not be
// copied: see [freshet.dev/pkg/dataset.Claim]. Files with other names in these folders are ignored.
//
// # Durability
//
// When PutObject, PutVersion or PutEntry return nil, the data survives a crash of the process and of the machine. In a folder, the file
// and every folder above it are synced. When they return an error or the process dies in them, no partial write can be read as an object
// or record. A later writer removes the remains of a dead upload once they are a day old.
//
// The next PutObject of an object that is missing or has the wrong size writes it again. PutObject compares the size only, to avoid
// reading gigabytes. RepairObject also compares the bytes, and replaces an object of the right size that was damaged at rest. A publish
// of all records of a dataset verifies and repairs the existing objects: see package publish. An instance refuses a damaged object that
// it pulls, because the digest is the object's name.
//
// # Cost
//
// The search for the newest version starts at the newest version that this Store has seen:
//   - A folder: two lookups of a file when there is no new version, 2*log2(n) more for n new versions. The first call for a dataset
//     lists its folder (5 ms for 10,000 versions).
//   - A bucket: one list request for up to 1,000 new versions, also at the first call, else about 4*log2(n/1000) more.
//
// The record itself is read once. In a bucket, Newest costs one list request for each 1,000 datasets. For each dataset it costs one
// HEAD of the version after the newest known one, and a read of each record that it has not seen. At Amazon's prices a HEAD costs a
// twelfth of a list request. PutObject holds at most 64 MiB in memory for a bucket, more only for objects above 160 GB, whose parts are
// larger. For a folder it holds nearly nothing.
package store
