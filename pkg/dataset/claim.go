package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrClaim is wrapped by the errors of Claim.Check and DecodeClaim.
var ErrClaim = errors.New("not a claim")

const (
	// ClaimSpan is the number of versions that a claim covers, its own included. Commits that were in flight when the claim
	// was written use some of them.
	ClaimSpan = 64
	// MaxClaimHold is the longest Claim.Hold.
	MaxClaimHold = 5 * time.Minute
)

// Claim asks the other publishers of a dataset to pause their commits, so that patches do not overtake a publish of all records
// again and again. A claim is advisory: a publisher that ignores it breaks nothing.
//
// Each publisher measures Hold from the moment when it first sees the claim. Clocks therefore do not matter, and the claim of a
// publisher that died expires after Hold.
type Claim struct {
	Dataset string `json:"dataset"`
	// Version is the first of the ClaimSpan versions that the claim covers.
	Version uint64 `json:"version"`
	// Owner is random for each publish, and has the form of a request id.
	Owner string `json:"owner"`
	// Hold bounds how long other publishers wait for the owner.
	Hold time.Duration `json:"hold_ns"`
}

// ID returns "<dataset>/<version>".
func (c Claim) ID() string { return c.Dataset + "/" + strconv.FormatUint(c.Version, 10) }

// Check returns an error that wraps [ErrClaim] if c is not a valid claim.
func (c Claim) Check() error {
	if err := CheckName(c.Dataset); err != nil {
		return fmt.Errorf("%w: %w", ErrClaim, err)
	}
	if err := CheckRequestID(c.Owner); err != nil {
		return fmt.Errorf("%w: %s: the owner is %w", ErrClaim, c.ID(), err)
	}
	if c.Version == 0 || c.Hold <= 0 || c.Hold > MaxClaimHold {
		return fmt.Errorf("%w: %s: the hold is %v; want a version from 1 on and a hold of up to %v", ErrClaim, c.ID(), c.Hold, MaxClaimHold)
	}
	return nil
}

// Encode returns c as JSON, the form in the store. It fails if Check does.
func (c Claim) Encode() ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// DecodeClaim decodes and checks a claim. It ignores unknown members.
func DecodeClaim(b []byte) (Claim, error) {
	var c Claim
	if err := json.Unmarshal(b, &c); err != nil {
		return Claim{}, fmt.Errorf("%w: %w", ErrClaim, err)
	}
	return c, c.Check()
}
