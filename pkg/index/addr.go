package index

import (
	"bytes"
	"math/bits"
	"net/netip"
	"slices"

	"go4.org/netipx"

	"freshet.dev/pkg/index/internal/sorted"
)

// An entry of a network is the family (4 or 6), the address and the length of the prefix. A range is split into the fewest prefixes that
// cover it. The entry of each has the width of the whole range after the prefix: the number of its addresses less one, without leading
// zeros, after its length. So entries of one prefix have the order of their widths.

// appendPrefix appends the entry of a prefix, which is masked.
func appendPrefix(dst []byte, p netip.Prefix) []byte {
	return append(appendAddr(dst, p.Addr()), byte(p.Bits()))
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	if a.Is4() {
		b := a.As4()
		return append(append(dst, 4), b[:]...)
	}
	b := a.As16()
	return append(append(dst, 6), b[:]...)
}

// addrEnd returns the length of the family and the address that an entry begins with.
func addrEnd(entry []byte) int {
	if entry[0] == 4 {
		return 5
	}
	return 17
}

// prefixOf returns the prefix that an entry begins with.
func prefixOf(entry []byte) netip.Prefix {
	n := addrEnd(entry)
	a, _ := netip.AddrFromSlice(entry[1:n])
	return netip.PrefixFrom(a, int(entry[n]))
}

// prefixLen returns the length of the part of an entry before the key.
func prefixLen(entry []byte, kind Kind) int {
	n := addrEnd(entry) + 1
	if kind == AddressRange {
		n += 1 + int(entry[n])
	}
	return n
}

// parseNetwork parses a network in CIDR notation or an address. Bits after the prefix are ignored. An IPv4 network in IPv6 form
// is an IPv4 network.
func parseNetwork(text string) (p netip.Prefix, ok bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// parseRange parses the addresses of a range.
func parseRange(first, last string) (r netipx.IPRange, ok bool) {
	a, err := netip.ParseAddr(first)
	if err != nil {
		return r, false
	}
	b, err := netip.ParseAddr(last)
	if err != nil {
		return r, false
	}
	r = netipx.IPRangeFrom(a.Unmap(), b.Unmap())
	return r, r.IsValid() && a.Zone() == "" && b.Zone() == ""
}

// appendWidth appends the width of a range.
func appendWidth(dst []byte, r netipx.IPRange) []byte {
	from, to := r.From().As16(), r.To().As16()
	var width [16]byte
	var borrow uint
	for i := 15; i >= 0; i-- {
		d := uint(to[i]) - uint(from[i]) - borrow
		width[i], borrow = byte(d), d>>(bits.UintSize-1)
	}
	w := bytes.TrimLeft(width[:], "\x00")
	return append(append(dst, byte(len(w))), w...)
}

// around returns the prefixes of the set that contain a, the narrowest first, until yield returns false.
func around(entries *sorted.Set, a netip.Addr, yield func(netip.Prefix) bool) {
	var probe, entry []byte
	// Prefixes are nested or apart. So the last one that is not above (a, all bits) contains a, or every prefix that contains a
	// contains that one too, and has at most the bits that both have in common.
	for most := a.BitLen(); most >= 0; most-- {
		masked, _ := a.Prefix(most)
		probe = append(appendAddr(probe[:0], masked.Addr()), byte(most)+1)
		var ok bool
		if entry, ok = entries.Before(probe, entry[:0]); !ok || entry[0] != probe[0] {
			return
		}
		p := prefixOf(entry)
		if p.Contains(a) {
			if !yield(p) {
				return
			}
			most = p.Bits()
			continue
		}
		most = commonBits(p.Addr(), a) + 1
	}
}

// commonBits returns how many bits two addresses of the same family begin with.
func commonBits(a, b netip.Addr) int {
	x, y := a.AsSlice(), b.AsSlice()
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			return 8*i + bits.LeadingZeros8(d)
		}
	}
	return 8 * len(x)
}

// narrowest returns the spans of the entries whose networks contain a and have the fewest addresses of all that do, in order.
func narrowest(entries *sorted.Set, kind Kind, a netip.Addr) (spans []span) {
	a = a.Unmap().WithZone("")
	var least []byte
	around(entries, a, func(p netip.Prefix) bool {
		prefix := appendPrefix(nil, p)
		if kind == Network {
			spans = []span{spanOf(prefix)}
			return false
		}
		entry, _ := entries.First(prefix, nil)
		found := entry[:prefixLen(entry, kind)]
		width := found[len(prefix):]
		switch c := bytes.Compare(width, least); {
		case least == nil || c < 0:
			least, spans = width, append(spans[:0], spanOf(found))
		case c == 0:
			spans = append(spans, spanOf(found))
		}
		return true
	})
	slices.Reverse(spans) // a wider prefix comes before those in it
	return spans
}
