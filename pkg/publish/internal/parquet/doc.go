// Package parquet reads the rows of a Parquet file as JSON objects, in bounded memory.
//
// The library parquet-go decodes the schema and the encodings. This package reads the footer, the headers and the bodies of pages itself
// and checks them first, because the library allocates what a file declares: a file of some bytes can declare gigabytes. A panic of the
// library becomes an error.
//
// # Rows as JSON
//
// Each row becomes one object, with the columns in the order of the schema. A null is null.
//
//	column                                   JSON
//	BOOLEAN                                  true, false
//	INT32, INT64, signed or unsigned         the number, exact
//	FLOAT, DOUBLE, FLOAT16                   the shortest number that reads back as the same; NaN and infinities are refused
//	DECIMAL, in any physical type            the number, exact, with as many decimals as the scale: 12.50
//	STRING, ENUM                             a string; what is not UTF-8 is refused
//	JSON                                     the JSON value itself; what is not JSON is refused
//	UUID                                     a string: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
//	DATE                                     a string: "2026-11-30"
//	TIME                                     a string: "13:04:05.25", with Z at its end if it is adjusted to UTC
//	TIMESTAMP                                a string: "2026-11-30T13:04:05.25Z" if it is adjusted to UTC, without the Z if it is local
//	INT96 (timestamps of Impala and Spark)   a string, as a TIMESTAMP in UTC
//	BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY         a string: base64 (RFC 4648, section 4)
//	LIST, repeated                           an array
//	MAP with keys of STRING or ENUM          an object
//	group                                    an object
//
// Fractions of seconds have no trailing zeros. BSON, INTERVAL, VARIANT, GEOMETRY, GEOGRAPHY, maps with other keys and encrypted files are
// refused, by the name of the column.
package parquet
