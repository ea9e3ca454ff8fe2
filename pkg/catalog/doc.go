// Package catalog keeps the newest version records of every dataset in Redis, so that a query for the newest version or for the last
// versions costs one round trip. The catalog is an index. The store is the truth: no data exists in the catalog only. All of it may be
// lost at any time, and [Catalog.Advance] rebuilds it. [Catalog.Replace] replaces a version that is not in the store's history.
//
// The catalog also keeps the last status of every instance for half a minute ([Catalog.RecordInstance]). It shows instances that died
// suddenly, or that do not answer over NATS. The instances define the content of a status.
//
// # Keys
//
// The braces map every key of a namespace to one slot of a Redis Cluster, so that one script may write several keys.
//
//	freshet:v1:{catalog}:datasets            set of dataset names
//	freshet:v1:{catalog}:versions:<dataset>  hash of at most 32 fields
//	    latest                               the newest entry
//	    <20-digit version>                   an older entry
//	freshet:v1:{catalog}:instances           sorted set of instance ids, each with the millisecond at which its record expires
//	freshet:v1:{catalog}:instance:<id>       the record of an instance, which expires
//
// In a namespace other than the default one, {catalog:<namespace>} replaces {catalog}.
//
// An entry is text of three lines. A trimmed entry lacks the last line:
//
//	<20-digit version, zero-padded, so that entries sort as their versions do>
//	<JSON of the version record without its deltas>
//	<JSON array of the deltas>
//
// # Bounds
//
// A dataset takes less than 64 KiB of Redis, and its entries at most 48 KiB. Above that bound entries are trimmed and removed:
//   - First the older entries lose their deltas, the oldest first.
//   - Then the older entries are removed, the oldest first.
//   - A newest entry that alone exceeds the bound is kept without its deltas, and [Catalog.Latest] returns [ErrTrimmed].
//   - A newest entry that exceeds the bound even so is also kept without its labels.
//
// All sizes are sizes of the JSON, in which a character may take six bytes. An instance takes 64 KiB at most.
package catalog
