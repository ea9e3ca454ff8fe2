package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/exit"
)

func TestDelete(t *testing.T) {
	f := start(t, "prices")
	remove := func(args ...string) result {
		t.Helper()
		return f.run(t, append([]string{"delete", "prices", "--reason", "it was mistyped", "--by", "ann"}, args...)...)
	}
	remove("--yes").want(t, exit.NotFound, "stderr:dataset prices has no version")
	f.run(t, "publish", "prices", file(t, "p.ndjson", priceList(300)), "--wait").want(t, exit.OK)
	f.run(t, "delete", "price", "--reason", "why", "--yes").want(t, exit.NotFound, "stderr:did you mean prices?")
	remove("--dry-run").want(t, exit.OK, "stdout:dry run: nothing was published", "stdout:no gate would refuse it")
	f.run(t, "versions", "prices").want(t, exit.OK, "!\n        2 ")

	remove("--yes", "--wait").want(t, exit.OK, "stdout:prices version 2: deleted; instances go on answering from their tables", "stdout:every live instance (2) serves version 2")
	const by = "deleted by ann, because it was mistyped ("
	f.run(t, "get", "prices", "299").want(t, exit.OK, `stdout:{"key":"299","cents":299}`)
	f.run(t, "get", "prices", "299", "--version", "2").want(t, exit.NotFound, "stderr:"+by, "stderr:`freshet rollback prices --to 1`")
	f.run(t, "export", "prices").want(t, exit.NotFound, "stderr:"+by)
	f.run(t, "keys", "prices").want(t, exit.NotFound, "stderr:"+by)
	f.run(t, "diff", "prices", "1", "2", "--stat").want(t, exit.OK, "300")
	f.run(t, "size", "prices").want(t, exit.OK)
	f.run(t, "versions", "prices").want(t, exit.OK, "stdout:deleted")
	f.until(t, exit.OK, []string{"deleted", by, "version 1 answers"}, "status", "prices", "--fail-if-stale")
	f.run(t, "events", "prices").want(t, exit.OK, "stdout:delete", "stdout:ann", "stdout:the dataset is deleted (300 removed)", "stdout:it was mistyped")
	f.run(t, "verify", "prices").want(t, exit.OK)
	remove("--yes").want(t, exit.OK, "stdout:prices was deleted before: version 2, "+by, "stdout:no version was created")
	remove("--dry-run").want(t, exit.OK, "stdout:prices would stay at version 2")

	got := remove("--yes", "--drop", "--output", "json", "--wait")
	var report publication
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.code != exit.OK || !report.Record.Dropped || report.Record.By != "ann" || len(report.Served) != 2 {
		t.Errorf("%+v: %v", got, err)
	}
	f.run(t, "get", "prices", "299").want(t, exit.NotFound, "stderr:"+by)
	f.until(t, exit.OK, []string{by, "the table was dropped"}, "status", "prices")
	f.run(t, "rollback", "prices", "--to", "1", "--reason", "it was not", "--wait").want(t, exit.OK, "stdout:version 4: the 300 records of version 1 again", "stdout:every live instance (2) serves version 4")
	f.run(t, "get", "prices", "299").want(t, exit.OK, `stdout:{"key":"299","cents":299}`)
	f.run(t, "verify", "prices").want(t, exit.OK)
}

// An instance of a release that does not know deleted versions holds a delete up.
func TestDeleteIsRefusedByAnOldInstance(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "p.ndjson", priceList(3)), "--wait").want(t, exit.OK)
	f.answers(t, fleet.Status{Instance: "old-1", Datasets: []fleet.DatasetStatus{{Dataset: "prices", Version: 1, State: fleet.Fresh}}})
	f.run(t, "delete", "prices", "--reason", "why", "--yes").want(t, exit.Refused, "stderr:empty their tables of dataset prices: old-1;", "stderr:upgrade them first", "stderr:--force")
	f.run(t, "delete", "prices", "--reason", "why", "--yes", "--force").want(t, exit.OK, "stdout:prices version 2: deleted")
}

func TestDeleteUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"say why with --reason TEXT":       {"--yes"},
		"standard input is no terminal":    {"--reason", "why"},
		"leave out --wait":                 {"--reason", "why", "--wait", "--dry-run"},
		"--request-id":                     {"--reason", "why", "--request-id", "a b"},
		"reason has 1025 bytes":            {"--reason", strings.Repeat("x", 1025)},
		"FRESHET_NAMESPACE: not a":         {"--reason", "why", "--namespace", "a.b"},
		"not a URL of a publisher":         {"--reason", "why", "--yes", "--publisher", "x"},
		"again: add --yes":                 {"--reason", "why", "--drop"},
		"--wait-timeout 0s: want more tha": {"--reason", "why", "--wait", "--wait-timeout", "0s"},
	} {
		r := run(t.Context(), nil, "", append([]string{"delete", "prices"}, args...)...)
		r.want(t, exit.Usage, "stderr:"+want)
		if strings.Count(r.err, "\n") != 1 {
			t.Errorf("stderr %q: want one line", r.err)
		}
	}
	run(t.Context(), nil, "", "delete", "Prices", "--reason", "why", "--yes").want(t, exit.Usage, "stderr:not a dataset name")
}
