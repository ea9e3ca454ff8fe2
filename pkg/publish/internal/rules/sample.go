package rules

import (
	"bytes"
	"context"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/input"
)

// The bounds of a sample. The order of a version's records is that of the hashes of their keys, so its first records are a random choice.
const (
	sampleRecords = 1000
	sampleBytes   = 1 << 20
)

// sample reads some records of the version. It sets held, and if key is true compares the key of the input with theirs. A version that is
// lost, or without a JSON object among the records that are read, shows nothing.
func (g *Ruling) sample(ctx context.Context, rec dataset.VersionRecord, key bool) error {
	if rec.Version == 0 || rec.State.Records == 0 {
		return nil
	}
	c, err := g.of.History.Chains.Shortest(ctx, rec)
	if versions.IsLost(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !key { // types change less often than records: a patch must not read every delta
		c.Deltas = nil
	}
	seen := map[string]kinds{}
	line := input.NewLine(g.Key(), "")
	records, read, objects := 0, 0, 0
	for r, err := range g.of.History.Blocks.Scan(ctx, rec, c, nil) {
		if versions.IsLost(err) {
			break // the publish of all records heals it
		}
		if err != nil {
			return fmt.Errorf("read records of version %s, to compare the input with them: %w", rec.ID(), err)
		}
		if addKinds(seen, r.Value) {
			objects++
			if key {
				if err := g.compareKey(rec, line, r); err != nil {
					return err
				}
			}
		}
		records++
		if read += len(r.Key) + len(r.Value); records == sampleRecords || read >= sampleBytes {
			break
		}
	}
	g.held = input.Types{Numbers: only(seen, numbers), Booleans: only(seen, booleans)}
	if objects > 0 {
		g.sampled = rec.Ref()
	}
	return nil
}

// compareKey refuses the input unless its key is that of the record.
func (g *Ruling) compareKey(rec dataset.VersionRecord, line *input.Line, r dataset.Record) error {
	key, _, err := line.Decode(r.Value)
	if err == nil && bytes.Equal(key, r.Key) {
		return nil
	}
	named := g.Key().Members
	refused := &input.Refusal{
		Problem: fmt.Sprintf("the key %s is not that of the records of version %d, such as %.64q", list(named), rec.Version, r.Key),
		Hint:    g.change(named), Err: ErrKey,
	}
	if members := input.Holders(r); len(members) > 0 {
		refused.Hint = fmt.Sprintf("that record has its key in %s, which --key (key over HTTP, Key in Go) names; %s", list(members), refused.Hint)
	}
	return refused
}

// kinds are the kinds of JSON values, without null, that a member has.
type kinds uint8

const (
	numbers kinds = 1 << iota
	booleans
	others
)

// addKinds adds the kinds of the members of an object. It returns false for another value.
func addKinds(seen map[string]kinds, value []byte) bool {
	dec := jsontext.NewDecoder(bytes.NewReader(value))
	if dec.PeekKind() != jsontext.KindBeginObject {
		return false
	}
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	found := map[string]kinds{}
	for dec.PeekKind() == jsontext.KindString {
		name, err := dec.ReadToken()
		if err != nil {
			return false
		}
		member := name.String()
		kind := others
		switch dec.PeekKind() {
		case jsontext.KindNumber:
			kind = numbers
		case jsontext.KindTrue, jsontext.KindFalse:
			kind = booleans
		case jsontext.KindNull:
			kind = 0
		}
		if err := dec.SkipValue(); err != nil {
			return false
		}
		found[member] |= kind
	}
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	for member, kind := range found {
		seen[member] |= kind
	}
	return true
}

// only returns the members that have values of no other kind.
func only(seen map[string]kinds, kind kinds) (members []string) {
	for member, has := range seen {
		if has == kind {
			members = append(members, member)
		}
	}
	return members
}
