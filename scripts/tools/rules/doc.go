// Package rules tests what this repository promises of its own source: who may import whom, a comment on every
// package, small files, tests that neither skip nor sleep, and a fixed top level. scripts/test runs it.
package rules
