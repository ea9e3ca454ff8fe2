package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// wantSettings fails the test unless the table shows the values.
func wantSettings(t *testing.T, f freshet, want map[string]string) {
	t.Helper()
	shown := map[string]string{}
	table := f.run(t, "settings", "prices").out
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 1 {
			shown[fields[0]] = fields[1]
		}
	}
	for name, value := range want {
		if shown[name] != value {
			t.Errorf("%s is %q, want %q:\n%s", name, shown[name], value, table)
		}
	}
}

func TestSettings(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "settings", "prices").want(t, exit.NotFound, "stderr:dataset prices has neither a version nor settings")
	f.run(t, "settings", "prices", "--set", "min_records=1", "--set", "max_fewer_records_percent=10", "--reason", "cut twice", "--by", "ann@host").
		want(t, exit.OK, "stdout:ann@host, journal entry 1: cut twice", "stderr:warning: dataset prices has no version yet")
	wantSettings(t, f, map[string]string{"min_records": "1", "max_fewer_records_percent": "10", "max_records": "-"})
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.run(t, "settings", "prices", "--set", "min_records=1", "--reason", "again").
		want(t, exit.OK, "stdout:had these values already; nothing was changed", "stdout:journal entry 2: set by the first publish", "!warning")
	f.run(t, "settings", "prices", "--unset", "min_records", "--set", "max_records=1000", "--reason", "the season is over").
		want(t, exit.OK, "stdout:journal entry 3: the season is over")
	wantSettings(t, f, map[string]string{"min_records": "-", "max_records": "1000", "key": `"sku"`, "number_keys": `"plain"`, "keep_versions": "10"})

	got := f.run(t, "settings", "prices", "--output", "json")
	got.want(t, exit.OK)
	var answer publisher.DatasetSettings
	if err := json.Unmarshal([]byte(got.out), &answer); err != nil || answer.Version != 1 || answer.Entry != 3 || answer.Settings.Gates.MaxRecords != 1000 || answer.By == "" || answer.Changed != nil {
		t.Errorf("%s, %v", got.out, err)
	}
	f.run(t, "settings", "prices", "--replace", "--reason", "no settings").want(t, exit.OK, "journal entry 4", "!1000")

	f.run(t, "settings", "prices", "--set", "min_recods=5", "--reason", "x").want(t, exit.Refused, `stderr:there is no setting "min_recods" (did you mean min_records?)`)
	f.run(t, "settings", "prices", "--set", "min_records=many", "--reason", "x").want(t, exit.Refused, `stderr:min_records is "many"; want a whole number`)
	f.run(t, "settings", "price").want(t, exit.NotFound, "stderr:did you mean prices?")
	run(t.Context(), map[string]string{"FRESHET_PUBLISHER_URL": "http://127.0.0.1:1"}, "", "settings", "prices").want(t, exit.Failure, "stderr:is it running there?")
}

// A publish meets the gates that the settings have, its refusal names the command that changes them, and the command helps.
func TestGatesOfTheSettings(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "settings", "prices", "--set", "max_more_records_percent=10", "--reason", "the feed was doubled once").want(t, exit.OK)
	f.run(t, "publish", "prices", file(t, "prices.ndjson", priceList(10))).want(t, exit.OK)
	more := file(t, "more.ndjson", priceList(20))
	f.run(t, "publish", "prices", more).want(t, exit.Refused, "stderr:max_more_records_percent: the version has 20 records and the one before 10: 100% more, the most is 10%",
		"stderr:freshet settings DATASET --set")
	f.run(t, "publish", "prices", more, "--patch").want(t, exit.Refused, "stderr:max_more_records_percent")
	f.run(t, "settings", "prices", "--set", "max_more_records_percent=100", "--reason", "the catalogue of the second shop").want(t, exit.OK)
	f.run(t, "publish", "prices", more).want(t, exit.OK, "stdout:version 2: 20 records")
	f.run(t, "events", "prices").want(t, exit.OK, "stdout:the feed was doubled once", "stdout:the catalogue of the second shop")
}

// A schema is given as the text of a file, and is shown short in tables.
func TestSchemaOfTheSettings(t *testing.T) {
	f := start(t, "prices")
	const text = "{\n  \"properties\": {\"price\": {\"type\": \"number\"}},\n  \"required\": [\"sku\", \"price\"],\n  \"type\": \"object\"\n}\n"
	f.run(t, "settings", "prices", "--set", "schema="+text, "--set", `required_keys=["k0","k1"]`, "--reason", "prices came as text").
		want(t, exit.OK, `stdout:{"properties":{"price":{"type":"number"}... (`, "!sku", `stdout:["k0","k1"]`)
	f.run(t, "events", "prices").want(t, exit.OK, `stdout:schema={"properties":`, "!sku")
	f.run(t, "settings", "prices", "--output", "json").want(t, exit.OK, `"sku"`)
	bad := file(t, "bad.ndjson", `{"sku":"k0","price":1}`+"\n"+`{"sku":"k2","price":"2"}`)
	f.run(t, "publish", "prices", bad, "--key", "sku").want(t, exit.Refused,
		`stderr:schema: 1 of 2 records do not meet the schema: line 2, key "k2": /price: got string, want number (schema /properties/price/type)`,
		`stderr:required_keys: the version lacks 1 of 2 keys: "k1"`)
	f.run(t, "publish", "prices", bad, "--key", "sku", "--dry-run").want(t, exit.Refused, "schema: 1 of 2 records", "required_keys: the version lacks")
	f.run(t, "settings", "prices", "--set", `schema={"$ref":"https://example.com/a.json"}`, "--reason", "x").want(t, exit.Refused,
		`stderr:it refers to "https://example.com/a.json", outside of itself`)
	f.run(t, "settings", "prices", "--set", "schema=prices.json", "--reason", "x").want(t, exit.Refused, `stderr:schema is "prices.json"; want a JSON object`)
}

// If the publisher's answer is lost, the message names the command that shows what happened.
func TestSettingsWithALostAnswer(t *testing.T) {
	f, proxy := loses(t)
	proxy.lose.Store(1)
	f.run(t, "settings", "prices", "--set", "max_records=7", "--reason", "the lost one").
		want(t, exit.Failure, "stderr:it is not known whether the settings were changed: look at `freshet events prices`")
	f.run(t, "events", "prices").want(t, exit.OK, "stdout:the lost one")
}

// The help names every setting with its meaning.
func TestSettingsHelp(t *testing.T) {
	r := run(t.Context(), nil, "", "settings", "--help")
	r.want(t, exit.OK, "stdout:min_records (default: none)", "stdout:max_fewer_records_percent (default: 50, from 100 records)", "stdout:--replace")
	for line := range strings.Lines(r.out) {
		if len(line) > 140 {
			t.Errorf("a line of the help has %d bytes: %s", len(line), line)
		}
	}
}
