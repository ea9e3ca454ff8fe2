// Package index finds the records of a version by members of their values: by equality, by ranges and prefixes, and by the IP network or
// range around an address.
//
// A [Set] is a table with its indexes. It is immutable: [Set.Apply] makes the set of the next version from the records that changed, at a
// cost that follows their number, and shares everything else. Readers never wait, and the records of an answer are all of one version.
//
// # Declaring
//
// A [Spec] names a member and what the index answers; [ParseSpec] has the texts. Members are those of values that are JSON objects:
//
//   - country: [Equal]. Texts over 32 bytes are hashed in the index and compared when they are read.
//   - name^: Equal, [Between] and [Prefix].
//   - cidr/ip: [Around], with networks in CIDR notation or single addresses, IPv4 and IPv6.
//   - first..last/ip: Around, with two members for the first and the last address. Ranges may overlap.
//
// An index has texts, numbers and booleans. It lacks a record whose member is missing or null, is an object or array, is longer than 512
// bytes in an ordered index, or is no IP address where one is wanted. [Set.Stats] counts such records, and [Set.Err] names one of each.
//
// # Order
//
// Booleans come before numbers, numbers before texts. Numbers are in the order of their exact decimal values, whatever their number of
// digits, and 1, 1.0 and 1e0 are the same. Texts are in the order of their bytes. Records with the same value are in the order of their
// keys. Pages of a lookup follow this order: a page of a later version goes on after the last record of the page before.
//
// # Memory
//
// An entry is the encoded value and the key, less what all entries of its block begin with. Entries have no pointers, and an index keeps
// no table but that of its set in memory. A range of addresses has an entry for each prefix that it splits into: one or two for most
// ranges, at most 62 for IPv4 and 254 for IPv6.
//
// An ordered list of copied blocks serves all kinds of index. Compared with it on a million records, github.com/tidwall/btree and
// github.com/gaissmai/bart need several times the memory; deployments/docs/decisions/0008-indexes.md has the numbers.
package index
