package dataset

import (
	"errors"
	"fmt"
)

// ErrRequestID is wrapped by the errors of CheckRequestID.
var ErrRequestID = errors.New("not a request id")

// CheckRequestID returns an error that wraps [ErrRequestID] if id is not a request id. A request id is 1 to 128 of the
// characters of base64, UUIDs and ULIDs: A-Z, a-z, 0-9, and . _ : + / = -. None of them needs escaping in JSON.
func CheckRequestID(id string) error {
	const want = "use 1 to %d of A-Z, a-z, 0-9, . _ : + / = and -, such as a UUID"
	switch {
	case id == "":
		return fmt.Errorf("%w: the id is empty; "+want, ErrRequestID, MaxRequestIDBytes)
	case len(id) > MaxRequestIDBytes:
		return fmt.Errorf("%w: %.16q... has %d bytes; "+want, ErrRequestID, id, len(id), MaxRequestIDBytes)
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == ':', c == '+', c == '/', c == '=', c == '-':
		default:
			return fmt.Errorf("%w: %q has %q at byte %d; "+want, ErrRequestID, id, c, i+1, MaxRequestIDBytes)
		}
	}
	return nil
}
