// Package resp serves lookups in Redis' protocol.
package resp
