package cli

import (
	"encoding/json"
	"testing"

	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// Pinned instances hold their version, say so, and no publish waits for them. Released, they follow.
func TestPin(t *testing.T) {
	f := start(t, "prices")
	for _, n := range []int{10, 11, 12} {
		f.run(t, "publish", "prices", file(t, "prices.ndjson", priceList(n)), "--wait").want(t, exit.OK)
	}
	f.run(t, "pins", "prices").want(t, exit.OK, "stdout:prices: no instance is pinned")
	f.run(t, "pin", "prices", "--version", "2", "--instance", "up-2", "--reason", "x", "--dry-run").want(t, exit.OK, "stdout:would pin instance up-2 to version 2", "stdout:x")
	f.run(t, "pin", "prices", "--version", "2", "--instance", "up-2", "--reason", "the new prices are wrong", "--by", "ann@host", "--wait").
		want(t, exit.OK, "stdout:prices: pinned instance up-2 to version 2", "stdout:the new prices are wrong")
	f.run(t, "status").want(t, exit.OK, "pinned", "pinned to version 2 by ann@host until it is unpinned, newest known 3: the new prices are wrong")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", priceList(13)), "--wait").
		want(t, exit.OK, "stdout:up-1 serves version 4", "stderr:up-2 does not serve version 4 yet: it is pinned to version 2", "!up-2 serves version 4")
	f.run(t, "status", "--fail-if-stale").want(t, exit.OK)

	f.run(t, "pin", "prices", "--version", "4", "--instance", "up-2", "--reason", "they are right", "--wait").
		want(t, exit.OK, "stdout:removed the pin of instance up-2 to version 2")
	f.run(t, "pin", "prices", "--version", "1", "--all", "--reason", "look at the first", "--wait").want(t, exit.OK, "stdout:pinned all instances to version 1")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", priceList(14)), "--wait").
		want(t, exit.NoInstance, "stderr:are pinned to another version (up-1, up-2)", "freshet unpin prices", "!FRESHET_DATASETS")
	f.run(t, "unpin", "prices", "--all", "--reason", "done", "--wait").want(t, exit.OK, "stdout:prices: no instance is pinned")
	f.run(t, "unpin", "prices", "--all", "--reason", "done").want(t, exit.OK, "stdout:nothing was changed", "stdout:prices: no instance is pinned")
	f.run(t, "status").want(t, exit.OK, "!pinned")
	f.run(t, "events", "prices").want(t, exit.OK, "pin", "instance up-2 to version 2", "unpin", "no longer all instances to version 1", "done")

	got := f.run(t, "pins", "prices", "--output", "json")
	var answer publisher.DatasetPins
	if err := json.Unmarshal([]byte(got.out), &answer); err != nil || answer.Entry != 5 || len(answer.Pins) != 0 {
		t.Errorf("%s, %v", got.out, err)
	}
}

func TestPinRefuses(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", priceList(10)), "--wait").want(t, exit.OK)
	pin := func(args ...string) result {
		return f.run(t, append([]string{"pin", "prices", "--reason", "x"}, args...)...)
	}
	pin("--all").want(t, exit.Usage, "stderr:--version is missing", "freshet versions prices")
	pin("--version", "1").want(t, exit.Usage, "stderr:choose instances with one of")
	pin("--version", "one", "--all").want(t, exit.Usage, "stderr:--version")
	f.run(t, "pin", "prices", "--version", "1", "--all", "--reason", " ").want(t, exit.Usage, "stderr:needs --reason")
	pin("--version", "1", "--all", "--wait", "--dry-run").want(t, exit.Usage, "stderr:leave out --wait")
	pin("--version", "9", "--all").want(t, exit.NotFound, "stderr:has no version 9; its nearest version is 1")
	pin("--version", "1", "--instance", "up-3").want(t, exit.NotFound, "stderr:no instance up-3 answers (did you mean up-1", "--absent")
	pin("--version", "1", "--label", "tier=canary").want(t, exit.NotFound, "stderr:no instance has the labels tier=canary", "--absent")
	f.run(t, "unpin", "prices", "--instance", "up-1", "--reason", "x").want(t, exit.NotFound, "stderr:there is no such pin", "the dataset has no pins")
	f.run(t, "unpin", "prices", "--instance", "up-1", "--reason", "x").want(t, exit.NotFound, "!write to the journal")
	for _, args := range [][]string{{"pin", "price", "--version", "1", "--all"}, {"unpin", "price", "--all"}, {"unpin", "price", "--instance", "up-1"}, {"rollback", "price", "--to", "1"}} {
		f.run(t, append(args, "--reason", "x")...).want(t, exit.NotFound, "stderr:did you mean prices?")
	}
	pin("--version", "1", "--label", "tier=canary", "--absent").want(t, exit.OK, "stdout:pinned instances with tier=canary to version 1")
	f.run(t, "pins", "prices").want(t, exit.OK, "stdout:instances with tier=canary")
	// Without NATS, the pin is set, and a warning says that the names were not looked up.
	pin("--version", "1", "--instance", "up-1", "--nats", "nats://127.0.0.1:1").
		want(t, exit.OK, "stdout:pinned instance up-1", "stderr:warning: it is not known whether an instance matches (instance up-1)")
}

// If the answer is lost, the message names the command that shows whether the pin was set.
func TestPinWithALostAnswer(t *testing.T) {
	f, proxy := loses(t)
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku").want(t, exit.OK)
	proxy.lose.Store(1)
	f.run(t, "pin", "prices", "--version", "1", "--all", "--reason", "the lost one").
		want(t, exit.Failure, "stderr:it is not known whether the pins were changed: look at `freshet pins prices`")
	f.run(t, "pins", "prices").want(t, exit.OK, "stdout:the lost one")
}
