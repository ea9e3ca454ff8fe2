package cli

import (
	"regexp"
	"strings"
	"testing"

	"freshet.dev/services/freshet/internal/exit"
)

var (
	remedyCommand = regexp.MustCompile(`freshet (settings .*?) --reason TEXT`)
	shellWord     = regexp.MustCompile(`(?:'[^']*'|\\'|[^ '\\])+`)
)

// remedy runs the change of settings that the message names, as a shell would.
func (f freshet) remedy(t *testing.T, name, message string) {
	t.Helper()
	command := remedyCommand.FindStringSubmatch(message)
	if command == nil {
		t.Fatalf("there is no command in %s", message)
	}
	var args []string
	for _, word := range shellWord.FindAllString(command[1], -1) {
		quote := strings.NewReplacer(`\'`, "\x00", "'", "")
		args = append(args, strings.ReplaceAll(quote.Replace(word), "\x00", "'"))
	}
	for i, arg := range args {
		if arg == "DATASET" {
			args[i] = name
		}
	}
	f.run(t, append(args, "--reason", "the message says so")...).want(t, exit.OK)
}

func TestKeys(t *testing.T) {
	f, _ := served(t)
	shops := file(t, "shops.ndjson", `{"it's":"A1","shop":"n:1"}`+"\n"+`{"it's":"A1","shop":"s"}`)
	f.run(t, "publish", "shops", shops, "--key", "shop", "--key", "it's").want(t, exit.OK, "stdout:2 records")
	f.run(t, "get", "shops", "n~11:A1", "--version", "1").want(t, exit.OK, `stdout:{"it's":"A1","shop":"n:1"}`)
	f.run(t, "keys", "shops", "--prefix", "s:").want(t, exit.OK, "stdout:s:A1", "!n~11")
	f.run(t, "publish", "shops", shops).want(t, exit.OK, "stdout:no version was created")
	f.run(t, "export", "shops").want(t, exit.OK, "stderr:their key is made of the members shop, it's")
	refused := f.run(t, "publish", "shops", shops, "--key", "it's", "--key", "shop")
	refused.want(t, exit.Refused, `stderr:the key of the dataset is "shop", "it's", by its setting key, and this publish has "it's", "shop"`)
	f.remedy(t, "shops", refused.err)
	f.run(t, "publish", "shops", shops, "--key", "it's", "--key", "shop").want(t, exit.OK, "stdout:version 2")
	f.run(t, "keys", "shops", "--prefix", "A1:").want(t, exit.OK, "stdout:A1:n~11", "stdout:A1:s")
	f.run(t, "events", "shops").want(t, exit.OK, `stdout:key=["shop","it's"], number_keys="plain"`, "stdout:set by the first publish")
}

// The commands in the messages about keys and CSV work from a shell.
func TestRemediesOfInputs(t *testing.T) {
	f, _ := served(t)
	publish := func(name, text string, args ...string) result {
		return f.run(t, append([]string{"publish", "prices", file(t, name, text)}, args...)...)
	}
	refused := publish("p.csv", "sku;cents\n1;2\n", "--key", "sku")
	refused.want(t, exit.Refused, `stderr:the header has no column "sku"`)
	f.remedy(t, "prices", refused.err)
	publish("p.csv", "sku;cents\n1;2\n", "--key", "sku").want(t, exit.OK)
	publish("p.ndjson", `{"sku":1,"cents":2,"sold":true}`).want(t, exit.OK)

	refused = publish("p.csv", "sku;cents;sold\n1;;t\n")
	refused.want(t, exit.Refused, `stderr:the columns ["sku","cents"] would turn numbers of the dataset into strings`)
	f.remedy(t, "prices", refused.err)
	refused = publish("p.csv", "sku;cents;sold\n1;;t\n")
	refused.want(t, exit.Refused, `stderr:the field in column "cents" is ""`)
	f.remedy(t, "prices", refused.err)
	publish("p.csv", "sku;cents;sold\n1;;t\n").want(t, exit.OK)
	f.run(t, "get", "prices", "1", "--version", "3").want(t, exit.OK, `stdout:{"sku":1,"cents":null,"sold":true}`)

	refused = publish("p.ndjson", `{"sku":1.0}`)
	refused.want(t, exit.Refused, `stderr:the key member "sku" is 1.0, which is no plain integer; write it as 1`)
	f.remedy(t, "prices", refused.err)
	publish("p.ndjson", `{"sku":1.0}`).want(t, exit.OK)
	f.run(t, "get", "prices", "1", "--version", "4").want(t, exit.OK, `stdout:{"sku":1.0}`)
}
