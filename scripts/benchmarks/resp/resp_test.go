package resp

import (
	"bytes"
	"strings"
	"testing"
)

// TestMainPrintsEveryTable runs all measurements with small sizes and real servers. Goals may be missed, because they are for an idle
// machine. A client whose library is missing is named.
func TestMainPrintsEveryTable(t *testing.T) {
	var out bytes.Buffer
	err := Main(t.Context(), []string{"-records", "5000", "-rounds", "1", "-requests", "5000", "-calls", "200", "-temp", t.TempDir()}, &out)
	if err != nil {
		t.Fatalf("%v; it printed\n%s", err, out.Bytes())
	}
	t.Logf("%s", out.Bytes())
	for _, want := range []string{
		"## redis-benchmark, one processor", "## redis-benchmark, two processors", "| GET -P 16 |", "| MGET of 16, -P 1 |", "goal at least 0.95", "goal at least 1.2",
		"## One client, 200 lookups",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, out.Bytes())
		}
	}
	for _, l := range languages {
		if measured, named := strings.Contains(out.String(), "| "+l.name+", "), strings.Contains(out.String(), "The client in "+l.name+" was not measured"); !measured && !named {
			t.Errorf("nothing says what became of the client in %s", l.name)
		}
	}
}

func TestRecordsHaveTheirSize(t *testing.T) {
	for _, i := range []int{0, 7, 99_999, 9_999_999} {
		if len(key(i)) != keyBytes || len(value(i)) != valueBytes {
			t.Errorf("record %d has a key of %d bytes and a value of %d: %s", i, len(key(i)), len(value(i)), value(i))
		}
	}
}

func TestParse(t *testing.T) {
	const head = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"`
	s, err := parse([]byte(head + "\n" + `"GET d:__rand_int__","81234.50","0.4","0.1","0.391","0.6","0.711","2.1"` + "\n"))
	if err != nil || s.perSecond != 81234.5 || s.p50 != 0.391 || s.p99 != 0.711 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", head, "error\n", "\"test\",\"rps\"\n\"GET\",\"1\"\n"} {
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
