package index_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/index"
)

// ipRange is a range of addresses in the simplest form.
type ipRange struct{ first, last netip.Addr }

func (r ipRange) contains(a netip.Addr) bool {
	return a.BitLen() == r.first.BitLen() && a.Compare(r.first) >= 0 && a.Compare(r.last) <= 0
}

func (r ipRange) width() *big.Int {
	return new(big.Int).Sub(new(big.Int).SetBytes(r.last.AsSlice()), new(big.Int).SetBytes(r.first.AsSlice()))
}

// narrowest returns the keys of the narrowest ranges around a, sorted.
func narrowest(all map[string]ipRange, a netip.Addr) []string {
	a = a.Unmap()
	var least *big.Int
	found := []string{}
	for key, r := range all {
		if !r.contains(a) {
			continue
		}
		c := -1
		if least != nil {
			c = r.width().Cmp(least)
		}
		if c < 0 {
			least, found = r.width(), found[:0]
		}
		if c <= 0 {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	return found
}

// drawnAddr draws addresses that are often near to one another.
var drawnAddr = rapid.Custom(func(t *rapid.T) netip.Addr {
	n := rapid.OneOf(rapid.Uint32Range(0, 40), rapid.Uint32Range(1<<32-40, 1<<32-1), rapid.Uint32()).Draw(t, "address")
	if rapid.Bool().Draw(t, "IPv4") {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], n)
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	if rapid.Bool().Draw(t, "high") {
		b[0], b[1] = 0x20, 1
	}
	if n > 1<<20 {
		copy(b[:8], "\xff\xff\xff\xff\xff\xff\xff\xff")
	}
	binary.BigEndian.PutUint32(b[12:], n)
	return netip.AddrFrom16(b).Unmap()
})

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Networks: nested, equal, of both families, with and without bits after the prefix.
func TestNetworksAgainstScans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		testAddresses(t, "net/ip", "net", func() (string, ipRange) {
			a := drawnAddr.Draw(t, "network")
			p := netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
			text := p.String()
			if p.Bits() == a.BitLen() && rapid.Bool().Draw(t, "single") {
				text = a.String()
			}
			if a.Is4() && rapid.IntRange(0, 4).Draw(t, "mapped") == 0 {
				text = fmt.Sprintf("::ffff:%s/%d", a, 96+p.Bits())
			}
			return fmt.Sprintf(`{"net":%q}`, text), ipRange{p.Masked().Addr(), last(p.Masked())}
		})
	})
}

// Ranges that overlap in all ways.
func TestRangesAgainstScans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		testAddresses(t, "from..to/ip", "from..to", func() (string, ipRange) {
			a := drawnAddr.Draw(t, "first")
			b := rapid.Custom(func(t *rapid.T) netip.Addr { return drawnAddr.Draw(t, "last") }).
				Filter(func(b netip.Addr) bool { return b.BitLen() == a.BitLen() }).Draw(t, "of the family")
			if b.Less(a) {
				a, b = b, a
			}
			return fmt.Sprintf(`{"from":%q,"to":%q}`, a, b), ipRange{a, b}
		})
	})
}

func testAddresses(t *rapid.T, spec, name string, draw func() (string, ipRange)) {
	content, ranges := records{}, map[string]ipRange{}
	change := func() (set records, removed []string) {
		set = records{}
		for range rapid.IntRange(0, 20).Draw(t, "changes") {
			key := fmt.Sprintf("key%d", rapid.IntRange(0, 40).Draw(t, "key"))
			set[key], ranges[key] = draw()
		}
		for _, key := range slices.Sorted(maps.Keys(content)) {
			if _, ok := set[key]; !ok && rapid.IntRange(0, 5).Draw(t, "remove") == 0 {
				removed = append(removed, key)
				delete(content, key)
				delete(ranges, key)
			}
		}
		maps.Copy(content, set)
		return set, removed
	}
	change()
	set := build(t, load(t, 1, content), spec)
	for range 3 {
		added, removed := change()
		set = follow(t, set, patch(t, set.Table(), added, removed))
		addrs := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
		for _, r := range ranges {
			addrs = append(addrs, r.first, r.last, r.first.Prev(), r.last.Next())
		}
		for range 10 {
			addrs = append(addrs, drawnAddr.Draw(t, "probe"))
		}
		for _, a := range addrs {
			if !a.IsValid() {
				continue
			}
			got, want := keys(t, set, index.Around(name, a)), narrowest(ranges, a)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("around %s: found %q, want %q of %v", a, got, want, ranges)
			}
			inPages := pages(t, set, index.Limits{Records: 1}, index.Around(name, a))
			if slices.Sort(inPages); !slices.Equal(inPages, want) {
				t.Fatalf("around %s in pages: found %q, want %q", a, inPages, want)
			}
		}
	}
	if st := set.Stats()[0]; st.Records != len(content) || set.Err() != nil {
		t.Fatalf("%+v, %v; want %d records", st, set.Err(), len(content))
	}
}

// FuzzNetwork compares the index of any text as a network with the standard library's reading of it.
func FuzzNetwork(f *testing.F) {
	for _, text := range []string{"10.0.0.0/8", "10.1.2.3/8", "::/0", "2001:db8::1", "::ffff:1.2.3.4/120", "::ffff:1.2.3.4/90", "fe80::1%eth0", "1.2.3.4/33", "x", ""} {
		f.Add(text, "10.1.2.3")
	}
	f.Fuzz(func(t *testing.T, text, addr string) {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			return
		}
		set := build(t, load(t, 1, records{"k": fmt.Sprintf(`{"net":"%s"}`, text)}), "net/ip")
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(text); err == nil && a.Zone() == "" {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if got := set.Stats()[0].Records == 1; got != p.IsValid() {
			t.Fatalf("the index has %q: %v, want %v", text, got, p.IsValid())
		}
		a, err := netip.ParseAddr(addr)
		if err != nil || a.Zone() != "" || a.Is4In6() || !p.IsValid() || p.Addr().Is4In6() {
			return
		}
		if got := len(keys(t, set, index.Around("net", a))) == 1; got != p.Contains(a) {
			t.Fatalf("%s is in %s: %v, want %v", a, p, got, p.Contains(a))
		}
	})
}
