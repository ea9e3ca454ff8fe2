package events_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/events"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// wanted lists the datasets of the listener in these tests.
var wanted = []string{"a", "cities", "prices"}

// checkFilter compares the reports of a listener for data with those of a decoder that reads all of it.
func checkFilter(t *testing.T, l *events.Listener, data []byte) {
	var b events.Beacon
	if err := json.Unmarshal(data, &b); err != nil || b.Every < events.MinBeaconEvery || b.Every > events.MaxBeaconEvery {
		return // a listener checks only the parts that concern its datasets
	}
	text := strings.ToLower(string(data))
	for _, bound := range []string{"from", "to"} {
		if strings.Count(text, bound) > 1 || strings.Index(text, bound) > strings.Index(text, "newest") {
			return // every release writes a bound once, and before the datasets
		}
	}
	want := map[string]events.Report{}
	for _, name := range wanted {
		if ref, ok := b.Version(name); ok {
			want[name] = events.Report{Version: ref.Version, ID: ref.ID, Store: b.Store, Every: b.Every, Publisher: b.Publisher}
		}
	}
	got := map[string]events.Report{}
	for name, reports := range l.ReceiveMessages([][]byte{data}).Reports {
		got[name] = reports[len(reports)-1]
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(events.Report{}, "At", "Sent")); diff != "" {
		t.Errorf("%s: %s", data, diff)
	}
}

// filtered lists messages that releases send, and others that a decoder accepts.
var filtered = []string{
	`{"publisher":"p","sent":"2026-11-22T18:00:00Z","every_ns":1000000000,"newest":{"a":1,"b":2,"cities":3}}`,
	`{"publisher":"p","sent":"2026-11-22T18:00:00Z","every_ns":1000000000,"from":"b","to":"d","store":"0102030405060708090a0b0c0d0e0f10","newest":{"b":2,"cities":3},"ids":{"b":"0102030405060708090a0b0c0d0e0f1011121314","cities":"1102030405060708090a0b0c0d0e0f1011121314"},"unread":["c","d"]}`,
	`{"publisher":"p","every_ns":1000000000,"from":"q","newest":{"quux":2}}`,
	`{"every_ns":1000000000,"to":"a","newest":{}}`,
	`{"every_ns":1000000000,"newest":{"x":1},"unread":["prices","x"]}`,
	` { "newest" : { "x" : 1 , "\u0061" : 7 } , "unread" : [ "b" , "\u0063ities" ] , "more" : [ { "a\"" : [ 1 , "]" ] } , null ] , "every_ns" : 1000000000 } `,
	`{"every_ns":1000000000,"newest":null,"ids":null,"unread":null}`,
	`{"every_ns":1000000000,"newest":{"a":1},"from":"b","Newest":{"cities":3}}`,
	`{"every_ns":1000000000,"publisher":"a \\\"newest\": {","newest":{"a":1}}`,
	`{"every_ns":1000000000,"newest":{"a":1},"newest":{"cities":3}}`,
	`{"every_ns":1000000000,"from":"\u0062","to":"\u0064","newest":{"a":1,"cities":3}}`,
}

// Invariant: a listener that skips the datasets of others has the same reports as one that decodes the whole message.
func TestFilteredBeaconsReportTheSame(t *testing.T) {
	_, _, nc, _ := start(t)
	l := must(events.NewListener(nc, wanted, events.ListenerConfig{}))(t)
	for _, text := range filtered {
		checkFilter(t, l, []byte(text))
		for cut := range len(text) { // messages that end too early
			l.ReceiveMessages([][]byte{[]byte(text[:cut])})
		}
	}
	if n, want := l.UnreadableBeacons(), uint64(0); n == want {
		t.Error("no truncated message counts as unreadable")
	}
}

func FuzzFilter(f *testing.F) {
	_, _, nc, _ := start(f)
	l := must(events.NewListener(nc, wanted, events.ListenerConfig{}))(f)
	for _, text := range filtered {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkFilter(t, l, data) })
}

// receiveThree returns a function that receives a beacon of 10,000 datasets on an instance with three of them.
func receiveThree(tb testing.TB) func() {
	_, _, nc, _ := start(tb)
	b := many(10_000, 100)
	names := slices.Sorted(maps.Keys(b.Newest))
	l := must(events.NewListener(nc, []string{names[7], names[5000], names[9000]}, events.ListenerConfig{}))(tb)
	parts, err := b.Parts(1 << 20)
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		if received := l.ReceiveMessages(parts); len(received.Reports) != 3 {
			tb.Fatalf("received %+v", received)
		}
	}
}

// The allocations of an instance for a beacon depend on its own datasets: three of 10,000 take some hundred
// allocations; decoding all takes more than twenty thousand.
func TestBeaconCostDependsOnOwnDatasets(t *testing.T) {
	if n := testing.AllocsPerRun(10, receiveThree(t)); n > 150 {
		t.Errorf("three datasets of 10,000 take %v allocations", n)
	}
}

func BenchmarkBeaconOfTenThousand(b *testing.B) {
	receive := receiveThree(b)
	b.ReportAllocs()
	for b.Loop() {
		receive()
	}
}
