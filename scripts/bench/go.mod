module freshet.dev/scripts/bench

go 1.26.0

require freshet.dev/pkg v0.0.0

require (
	github.com/colinmarc/cdb v0.0.0-20190223170904-60f317823f70 // indirect
	github.com/dolthub/maphash v0.1.0 // indirect
	github.com/dolthub/swiss v0.2.1 // indirect
)

replace freshet.dev/pkg => ../../pkg
