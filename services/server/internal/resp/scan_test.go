package resp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// scan returns the keys of one SCAN and the next cursor.
func (k *talk) scan(cursor string, options ...string) (keys []string, next string) {
	k.t.Helper()
	lines := strings.Split(k.do(append([]string{"SCAN", cursor}, options...)...), "\r\n")
	if lines[0] != "*2" {
		k.t.Fatalf("SCAN %s %v: %s", cursor, options, lines[0])
	}
	for i := 5; i < len(lines); i += 2 {
		keys = append(keys, lines[i])
	}
	if n, err := strconv.Atoi(lines[3][1:]); err != nil || n != len(keys) {
		k.t.Fatalf("SCAN %s %v: %d keys, the reply says %s", cursor, options, len(keys), lines[3])
	}
	if n, err := strconv.ParseUint(lines[2], 10, 64); err != nil || n >= 1<<53 {
		k.t.Fatalf("the cursor is %s: JavaScript's numbers cannot hold it", lines[2])
	}
	return keys, lines[2]
}

// scanAll returns the keys of a whole scan, sorted. between is called after each command.
func (k *talk) scanAll(between func(), options ...string) (all []string) {
	k.t.Helper()
	for cursor := "0"; ; {
		var keys []string
		keys, cursor = k.scan(cursor, options...)
		if all = append(all, keys...); cursor == "0" {
			slices.Sort(all)
			return all
		}
		between()
	}
}

func numbered(prefix string, from, to int) map[string]string {
	m := make(map[string]string)
	for i := from; i < to; i++ {
		m[fmt.Sprintf("%s%d", prefix, i)] = "{}"
	}
	return m
}

func TestScan(t *testing.T) {
	datasets := map[string]*fake{"a": new(fake).serve(t, 1, numbered("x", 0, 30)), "b": {}, "c": new(fake).serve(t, 1, nil), "ab": new(fake).serve(t, 1, numbered("y*", 0, 5))}
	k := newTalk(t, newPort(testConfig(), datasets))
	none := func() {}
	for _, c := range []struct {
		options string
		want    int
	}{
		{"", 35},
		{"COUNT 1", 35},
		{"COUNT 1000000000", 35},
		{"MATCH *", 35},
		{"MATCH a:*", 30},
		{"MATCH a:* COUNT 7", 30},
		{"MATCH a*", 35},
		{"MATCH ab*", 5},
		{"MATCH ab:*", 5},
		{"MATCH c:*", 0},
		{"MATCH z*", 0},
		{"MATCH a:x1*", 11},
		{"MATCH a:x1? COUNT 3", 10},
		{"MATCH *:x*9", 3},
		{"MATCH ?:*", 30},
		{"MATCH a:x7", 1},
		{`MATCH ab:y\*1`, 1},
		{`MATCH ab:y\1`, 0},
		{"TYPE string", 35},
		{"TYPE hash", 0},
		{"MATCH a:* TYPE String COUNT 4", 30},
	} {
		got := k.scanAll(none, strings.Fields(c.options)...)
		if len(got) != c.want || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("%s: %d keys, want %d: %q", c.options, len(got), c.want, got)
		}
	}
	if keys, next := k.scan(strconv.FormatUint(1<<52, 10)); len(keys) != 0 || next != "0" {
		t.Errorf("a cursor beyond the end: %q, %s", keys, next)
	}
}

// A scan returns every record that is there during the whole scan, whatever versions are swapped in.
func TestScanAcrossVersions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	stable := numbered("stable-", 0, 500)
	a, b := new(fake), new(fake)
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"a": a, "b": b}))
	version := uint64(0)
	swap := func() {
		version++
		for _, d := range []*fake{a, b} {
			records := numbered("passing-", r.IntN(300), 300+r.IntN(700))
			maps.Copy(records, stable)
			d.serve(t, version, records)
		}
	}
	for range 5 {
		swap()
		seen := make(map[string]bool)
		for _, key := range k.scanAll(swap, "COUNT", "50") {
			seen[key] = true
		}
		for key := range stable {
			if !seen["a:"+key] || !seen["b:"+key] {
				t.Fatalf("the scan lacks %s", key)
			}
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		text, pattern string
		want          bool
	}{
		{"", "", true},
		{"", "*", true},
		{"a", "", false},
		{"abc", "a*", true},
		{"abc", "*c", true},
		{"abc", "a*b", false},
		{"aXbXc", "a*b*c", true},
		{"abcabc", "*abc", true},
		{"abc", "a?c", true},
		{"ac", "a?c", false},
		{"a*c", `a\*c`, true},
		{"abc", `a\*c`, false},
		{`a\`, `a\`, false},
		{"a:b", "a:b**", true},
	} {
		if got, _ := glob(c.text, c.pattern); got != c.want {
			t.Errorf("%q matches %q: %v", c.text, c.pattern, got)
		}
	}
	text, pattern := strings.Repeat("a", 1000), strings.Repeat("a*", 100)+"b"
	if got, steps := glob(text, pattern); got || steps > len(text)*len(pattern) {
		t.Errorf("%v after %d steps", got, steps)
	}
}
