// Package scan reads all records of one version of a dataset with expressions: it filters, projects, groups and aggregates them. The
// expressions are CEL (https://cel.dev) with two variables:
//
//   - key, the key of the record, a string
//   - value, its value, a JSON object. Its members are read where an expression names them; the rest is not decoded.
//
// A number of JSON is an int if it is written without fraction and exponent and fits, else a uint if that fits, else a double. CEL
// compares numbers of different types, and calculates only with numbers of one type: write double(value.price) * 1.2 if some prices are
// whole numbers.
//
// # Records that an expression does not fit
//
// An expression that reads a member which the record lacks ends in an error, and so does one that compares a number with a string. A
// record for which an expression ends in an error gives no row and counts in no aggregate. [Summary] has the number of these records, the
// first key and the reason. has(value.x) and value.?x.orValue(0) ask for a member without an error. The value of an option of a select that
// is optional.none() is left out of the row; an aggregate skips it, and null.
//
// # Limits
//
// An expression has at most [MaxExpression] characters, and an evaluation a bounded cost in CEL's units. One evaluation may take some
// milliseconds for values of 1 MiB, else microseconds. [Limits] bound the memory of groups and the time of a scan. A scan of rows that
// reaches its time ends with a cursor; one that aggregates fails with a [*LimitError], since its groups would be of a part.
//
// # Versions
//
// A scan reads one version, and keeps it in memory until it ends. A cursor is a position in the order of the table, (hash, key), which
// depends only on the dataset's seed. So it is valid in any version: pages of several versions have each record once that all of these
// versions have, and [Summary] names the version of a page.
//
// # Lanes
//
// [Scan.Run] computes in a lane and yields in it about every millisecond. It leaves the lane while its caller writes rows, so a slow
// client takes no place in the lane.
package scan
