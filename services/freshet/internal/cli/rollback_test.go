package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/exit"
)

// priceList returns n records.
func priceList(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"key":"%d","cents":%d}`+"\n", i, i)
	}
	return b.String()
}

// TestMostOfADatasetIsNotRemovedByMistake is `head -1 prices.ndjson | freshet publish prices -`.
func TestMostOfADatasetIsNotRemovedByMistake(t *testing.T) {
	f := start(t, "prices")
	all := priceList(100_000)
	head, _, _ := strings.Cut(all, "\n")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", all)).want(t, exit.OK, "version 1: 100,000 records")

	refused := []string{"stderr:max_fewer_records_percent", "stderr:has 1 records and the one before 100000", "stderr:--allow-shrink and --reason"}
	publish := func(args ...string) result {
		t.Helper()
		return run(t.Context(), f.env, head, append([]string{"publish", "prices", "-"}, args...)...)
	}
	publish().want(t, exit.Refused, append(refused, "stderr:nothing was published")...)
	publish("--dry-run").want(t, exit.Refused, append(refused, "stdout:dry run: nothing was published", "stdout:99,999", "stdout:refused by the gate: max_fewer_records_percent")...)
	publish("--allow-shrink").want(t, exit.Usage, "stderr:say why with --reason TEXT")
	publish("--dry-run", "--allow-shrink", "--reason", "the catalogue is gone").want(t, exit.OK, "stdout:gate passed with a reason: max_fewer", "stdout:no gate would refuse it")
	f.run(t, "versions", "prices").want(t, exit.OK, "!\n        2 ")
	publish("--allow-shrink", "--reason", "the catalogue is gone", "--by", "ann").want(t, exit.OK, "stdout:version 2: 1 record (0 added, 0 changed, 99,999 removed)")

	f.run(t, "rollback", "prices", "--to", "1", "--reason", "it was not", "--wait").
		want(t, exit.OK, "stdout:prices version 3: the 100,000 records of version 1 again (99,999 added, 0 changed, 0 removed)", "stdout:every live instance (2) serves version 3")
	f.run(t, "get", "prices", "99999").want(t, exit.OK, `stdout:{"key":"99999","cents":99999}`)

	records := f.versionRecords(t)
	if records[1].By != "ann" || records[1].Reason != "the catalogue is gone" || !strings.Contains(records[0].By, "@") || records[0].Restores != records[2].Ref() {
		t.Errorf("%+v", records)
	}
}

// versionRecords returns the version records of prices, newest first.
func (f freshet) versionRecords(t *testing.T) (records []dataset.VersionRecord) {
	t.Helper()
	versions := f.run(t, "versions", "prices", "--output", "json")
	if err := json.Unmarshal([]byte(versions.out), &records); err != nil {
		t.Fatalf("%+v: %v", versions, err)
	}
	return records
}

func TestRollback(t *testing.T) {
	f := start(t, "prices")
	roll := func(args ...string) result {
		t.Helper()
		return f.run(t, append([]string{"rollback", "prices", "--reason", "wrong currency"}, args...)...)
	}
	roll("--to", "1").want(t, exit.NotFound, "stderr:the dataset has no version")
	for _, text := range []string{priceList(300), priceList(301), priceList(302)} {
		f.run(t, "publish", "prices", file(t, "p.ndjson", text)).want(t, exit.OK)
	}
	roll("--to", "4").want(t, exit.NotFound, "stderr:it has the versions 1 to 3")
	roll("--to", "1@0123456789ab").want(t, exit.NotFound, "stderr:the version with that number has the id")
	dry := roll("--to", "1", "--dry-run")
	dry.want(t, exit.OK, "stdout:dry run: nothing was published", "stdout:no gate would refuse it")
	for _, row := range []string{" 4 records 302 300 added 0 changed 0 removed 2 keys and values ", " to pull "} {
		if words := strings.Join(strings.Fields(dry.out), " "); !strings.Contains(words, row) {
			t.Errorf("it prints no %q: %s", row, dry.out)
		}
	}
	roll("--to", "3", "--dry-run").want(t, exit.OK, "stdout:dry run: prices would stay at version 3; nothing changes")
	roll("--to", "3").want(t, exit.OK, "stdout:prices is unchanged: version 3 has the same 302 records; no version was created")
	one := f.versionRecords(t)[2]
	roll("--to", "1@"+one.VersionID().Short(), "--wait").want(t, exit.OK, "stdout:prices version 4: the 300 records of version 1 again", "stdout:every live instance (2) serves version 4", "stdout:kept table")

	got := roll("--to", "2", "--output", "json", "--by", "ann")
	var report publication
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.code != exit.OK || report.Record.Restores.Version != 2 || report.Record.By != "ann" || report.Record.Reason != "wrong currency" {
		t.Errorf("%+v: %v", got, err)
	}
	got = roll("--to", "1", "--output", "json", "--dry-run")
	report = publication{}
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.code != exit.OK || report.Preview == nil || report.Preview.Changes.Removed != 1 || report.Preview.Base.Version != 5 {
		t.Errorf("%+v: %v", got, err)
	}
	f.run(t, "publish", "prices", file(t, "p.ndjson", priceList(10)), "--dry-run", "--output", "json").
		want(t, exit.Refused, `stdout:"refused"`, `stdout:"gate": "max_fewer_records_percent"`, "stderr:dry run: ")
}

func TestRollbackUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--to is missing":              {"--reason", "why"},
		"--to \"x\" names no version":  {"--to", "x", "--reason", "why"},
		"--to \"0\": versions begin":   {"--to", "0", "--reason", "why"},
		"say why with --reason TEXT":   {"--to", "1"},
		"--wait-timeout":               {"--to", "1", "--reason", "why", "--wait", "--wait-timeout", "0s"},
		"leave out --wait":             {"--to", "1", "--reason", "why", "--wait", "--dry-run"},
		"--request-id":                 {"--to", "1", "--reason", "why", "--request-id", "a b"},
		"reason has 1025 bytes":        {"--to", "1", "--reason", strings.Repeat("x", 1025)},
		"FRESHET_NAMESPACE: not a":     {"--to", "1", "--reason", "why", "--namespace", "a.b"},
		"not a URL of a publisher":     {"--to", "1", "--reason", "why", "--publisher", "x"},
		"write it as one line of text": {"--to", "1", "--reason", "two\nlines"},
	} {
		r := run(t.Context(), nil, "", append([]string{"rollback", "prices"}, args...)...)
		r.want(t, exit.Usage, "stderr:"+want)
		if strings.Count(r.err, "\n") != 1 {
			t.Errorf("stderr %q: want one line", r.err)
		}
	}
	run(t.Context(), nil, "", "rollback", "Prices", "--to", "1", "--reason", "why").want(t, exit.Usage, "stderr:not a dataset name")
	run(t.Context(), nil, "", "publish", "prices", file(t, "p.ndjson", oldPrices), "--wait", "--dry-run").want(t, exit.Usage, "stderr:leave out --wait")
}

// A rollback whose answer is lost is sent again with its id, and makes one version.
func TestLostAnswersOfARollback(t *testing.T) {
	f, l := loses(t)
	for _, text := range []string{oldPrices, newPrices} {
		f.run(t, "publish", "prices", file(t, "p.ndjson", text), "--key", "sku").want(t, exit.OK)
	}
	l.lose.Store(2)
	f.run(t, "rollback", "prices", "--to", "1", "--reason", "why").want(t, exit.OK, "stdout:prices version 3: the 2 records of version 1 again", "stderr:; retrying")
	if records := f.versionRecords(t); len(records) != 3 {
		t.Errorf("there are %d versions", len(records))
	}
	l.lose.Store(100)
	f.run(t, "rollback", "prices", "--to", "2", "--reason", "why").
		want(t, exit.Failure, "stderr:it is not known whether it was rolled back", "stderr:--request-id")
}
