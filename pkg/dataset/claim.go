package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrClaim is wrapped by every error that refuses a claim.
var ErrClaim = errors.New("not a claim")

const (
	// ClaimSpan is how many versions a claim is for, from its own on: commits that were under way when it was made take some.
	ClaimSpan = 64
	// MaxClaimHold bounds Claim.Hold.
	MaxClaimHold = 5 * time.Minute
)

// Claim asks other publishers of a dataset to commit no version for a while, so that a publish of all records is not overtaken again
// and again by patches. It is an arrangement among publishers, and no lock: a publisher that ignores it breaks nothing.
//
// Its time is a duration that each publisher measures from when it first sees the claim. So clocks do not matter, and a claim of a dead
// publisher ends after that time.
type Claim struct {
	Dataset string `json:"dataset"`
	// Version is the first version that is claimed; ClaimSpan of them are.
	Version uint64 `json:"version"`
	// Owner is drawn for each publish, in the form of a request id.
	Owner string `json:"owner"`
	// Hold is how long a publisher waits for the owner at most.
	Hold time.Duration `json:"hold_ns"`
}

// ID returns "<dataset>/<version>".
func (c Claim) ID() string { return c.Dataset + "/" + strconv.FormatUint(c.Version, 10) }

// Check says why c cannot be a claim; nil means that it can.
func (c Claim) Check() error {
	if err := CheckName(c.Dataset); err != nil {
		return fmt.Errorf("%w: %w", ErrClaim, err)
	}
	if err := CheckRequestID(c.Owner); err != nil {
		return fmt.Errorf("%w: %s: its owner is %w", ErrClaim, c.ID(), err)
	}
	if c.Version == 0 || c.Hold <= 0 || c.Hold > MaxClaimHold {
		return fmt.Errorf("%w: %s: it is held for %v; want a version from 1 on, and up to %v", ErrClaim, c.ID(), c.Hold, MaxClaimHold)
	}
	return nil
}

// Encode returns c, which must pass Check, as JSON: the form in the store.
func (c Claim) Encode() ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// DecodeClaim returns the claim that b is the JSON of, checked. Members it does not know are ignored.
func DecodeClaim(b []byte) (Claim, error) {
	var c Claim
	if err := json.Unmarshal(b, &c); err != nil {
		return Claim{}, fmt.Errorf("%w: %w", ErrClaim, err)
	}
	return c, c.Check()
}
