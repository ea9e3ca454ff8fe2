package index

import (
	"errors"
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/member"
)

// ErrSpec is wrapped by the errors of specs that cannot work.
var ErrSpec = errors.New("unusable index")

// Kind is what an index answers.
type Kind uint8

const (
	// Equality finds the records whose member has a value.
	Equality Kind = iota
	// Ordered finds those too, and records by a range of values or by a prefix.
	Ordered
	// Network finds the records of the narrowest IP network around an address. The member is a network in CIDR notation or an address.
	Network
	// AddressRange finds the records of the narrowest range around an address. Two members are the first and the last address.
	AddressRange
)

// The parts of the text of a spec.
const (
	orderedMark = "^"
	networkMark = "/ip"
	rangeMark   = ".."
)

// Spec declares an index on a member of the records' values.
type Spec struct {
	Kind Kind
	// Member is the path of the member, for [member.Parse]. For an AddressRange it is the member with the first address.
	Member string
	// Last is the path of the member with the last address of an AddressRange, and empty for other kinds.
	Last string
}

// Name returns the name by which lookups name the index: its member, or both with two dots in between.
func (s Spec) Name() string {
	if s.Kind == AddressRange {
		return s.Member + rangeMark + s.Last
	}
	return s.Member
}

// String returns the text that [ParseSpec] parses.
func (s Spec) String() string {
	switch s.Kind {
	case Ordered:
		return s.Member + orderedMark
	case Network, AddressRange:
		return s.Name() + networkMark
	}
	return s.Member
}

// ParseSpec parses the text of a spec:
//
//	country         equality
//	name^           equality, range and prefix
//	cidr/ip         the network around an IP address
//	first..last/ip  the range around an IP address, from two members
//
// A member is a path for [member.Parse]. A backslash before its last character makes that part of the path: name\^ is equality. The error
// is an [ErrSpec].
func ParseSpec(text string) (Spec, error) {
	s := Spec{Member: text}
	if path, ok := cutMark(text, orderedMark); ok {
		s = Spec{Kind: Ordered, Member: path}
	} else if path, ok := cutMark(text, networkMark); ok {
		s = Spec{Kind: Network, Member: path}
		if first, last, ok := strings.Cut(path, rangeMark); ok {
			s = Spec{Kind: AddressRange, Member: first, Last: last}
		}
	}
	return s, s.check()
}

// cutMark cuts the mark off the end of text, unless a backslash precedes it or its last character.
func cutMark(text, mark string) (rest string, ok bool) {
	rest, ok = strings.CutSuffix(text, mark)
	escapes := len(rest) - len(strings.TrimRight(rest, `\`))
	return rest, ok && escapes%2 == 0
}

func (s Spec) check() error {
	if s.Kind > AddressRange || (s.Last != "") != (s.Kind == AddressRange) {
		return fmt.Errorf("%w: %q has no known kind, or a last member and is no range; use ParseSpec", ErrSpec, s)
	}
	if _, err := member.Parse(s.members()...); err != nil {
		return fmt.Errorf("%w %q: %w", ErrSpec, s, err)
	}
	return nil
}

// members returns the paths of the spec's members.
func (s Spec) members() []string {
	if s.Kind == AddressRange {
		return []string{s.Member, s.Last}
	}
	return []string{s.Member}
}

// Parse parses a list of DATASET:SPEC, and returns the specs of each dataset. The error is an [ErrSpec] that quotes the item.
func Parse(items []string) (map[string][]Spec, error) {
	all := make(map[string][]Spec)
	for _, item := range items {
		name, text, ok := strings.Cut(item, ":")
		if !ok {
			return nil, fmt.Errorf("%w %q: want DATASET:MEMBER, such as cities:country, cities:name^ or ranges:cidr/ip", ErrSpec, item)
		}
		if err := dataset.CheckName(name); err != nil {
			return nil, fmt.Errorf("%w %q: %w", ErrSpec, item, err)
		}
		spec, err := ParseSpec(text)
		if err != nil {
			return nil, fmt.Errorf("dataset %s: %w", name, err)
		}
		all[name] = append(all[name], spec)
	}
	for name, specs := range all {
		if err := Check(specs); err != nil {
			return nil, fmt.Errorf("dataset %s: %w", name, err)
		}
	}
	return all, nil
}

// Check returns an [ErrSpec] if one of the specs cannot work, or two have the same name.
func Check(specs []Spec) error {
	seen := make(map[string]Spec, len(specs))
	for _, s := range specs {
		if err := s.check(); err != nil {
			return err
		}
		if other, ok := seen[s.Name()]; ok {
			return fmt.Errorf("%w: %q and %q are on the same member; leave one out (%s%s answers equality too)", ErrSpec, other, s, s.Member, orderedMark)
		}
		seen[s.Name()] = s
	}
	return nil
}
