// Package catalog keeps the newest version records of every dataset in Redis, so that "which version is the newest"
// and "which were the last" cost one round trip. It is an index: the store is the truth, nothing in the catalog
// came from a record, and all of it may be lost at any time and is built again by [Catalog.Advance]. [Catalog.Replace] puts a
// version in the place of one that is not in the store's history.
//
// Beside that it keeps the last word of every instance for half a minute ([Catalog.RecordInstance]), so that one that
// died without a word, or does not answer over NATS, is missed. What the word is, is the instances' business.
//
// # Keys
//
// The braces put every key of a namespace into one slot of a Redis Cluster, so that one script may write them together.
//
//	freshet:v1:{catalog}:datasets            set of dataset names
//	freshet:v1:{catalog}:versions:<dataset>  hash of at most 32 fields
//	    latest                               the newest entry
//	    <20-digit version>                   an older entry
//	freshet:v1:{catalog}:instances           sorted set of instances' ids, each with the millisecond at which its record expires
//	freshet:v1:{catalog}:instance:<id>       the record of an instance, which expires
//
// In a namespace other than the default one {catalog:<namespace>} takes the place of {catalog}.
//
// An entry is text of three lines, the last of them absent once it was trimmed:
//
//	<20-digit version, zero-padded, so that the order of the text is the order of the numbers>
//	<JSON of the version record without its deltas>
//	<JSON array of the deltas>
//
// # Bounds
//
// A dataset takes less than 64 KiB of Redis. The entries of a dataset are held to 48 KiB; past it the older entries
// lose their deltas first, oldest first, and then go altogether. What the newest entry needs it gets, unless it alone
// passes the bound: then it is kept without its deltas, and [Catalog.Latest] says [ErrTrimmed]. If it passes the bound without them,
// it is kept without its labels too. All sizes are those of the JSON, in which a character may take six bytes. An instance takes
// 64 KiB at most.
package catalog
