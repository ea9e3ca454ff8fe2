package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
	"freshet.dev/services/relay"
)

// wantText fails the test unless the document has the text, whatever its line ends.
func wantText(t *testing.T, name, text string) {
	t.Helper()
	if !strings.Contains(strings.Join(strings.Fields(document(t, name)), " "), text) {
		t.Errorf("%s has no %q", name, text)
	}
}

// TestSizesOfTheDefaults compares the numbers of the production setup with the defaults of the programs. The tests of services/e2e and
// services/relay measure the memory.
func TestSizesOfTheDefaults(t *testing.T) {
	var r relay.Config
	var p publisher.Config
	for _, config := range []any{&r, &p} {
		if _, err := settings.Load(config); err != nil {
			t.Fatal(err)
		}
	}
	const rest = 64 << 20
	sum := fmt.Sprintf("%d MiB", (int64(r.RelayCacheBytes)+rest+int64(r.RelayResponses)*int64(r.RelaySendBytes))>>20)
	wantText(t, readmeFile, sum+" with the defaults")
	wantText(t, operationsFile, sum+" with the defaults")
	wantText(t, operationsFile, "= "+sum)
	wantText(t, operationsFile, fmt.Sprintf("more than `FRESHET_MAX_DELTAS` (%d) deltas", p.MaxDeltas))
	wantText(t, operationsFile, fmt.Sprintf("`FRESHET_MAX_DELTA_PERCENT` (%d) percent", p.MaxDeltaPercent))
	wantText(t, operationsFile, fmt.Sprintf("at most 1/%d of a snapshot", p.MaxDeltas+1))
	if p.MaxDeltaPercent != 50 {
		t.Errorf("%s says that snapshots take at most twice the deltas, which is so for 50 percent", operationsFile)
	}
}

// TestPlatforms compares the supported platforms with those that scripts/test vets.
func TestPlatforms(t *testing.T) {
	m := regexp.MustCompile(`(?m)^for platform in (.*); do$`).FindStringSubmatch(document(t, "scripts/test"))
	if m == nil {
		t.Fatal("scripts/test vets no platforms")
	}
	platforms := strings.Fields(m[1])
	last := len(platforms) - 1
	wantText(t, operationsFile, "for "+strings.Join(platforms[:last], ", ")+" and "+platforms[last]+".")
}

// TestVersionsOfTheBackends compares the versions that the tests use with those in the documents. The embedded NATS server of
// `freshet up` is the same release as that of the tests.
func TestVersionsOfTheBackends(t *testing.T) {
	version := func(mod, module string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^\s+` + regexp.QuoteMeta(module) + ` v([0-9.]+)`).FindStringSubmatch(document(t, mod))
		if m == nil {
			t.Fatalf("%s does not require %s", mod, module)
		}
		return m[1]
	}
	const nats = "github.com/nats-io/nats-server/v2"
	tested := version("scripts/tools/go.mod", nats)
	wantText(t, operationsFile, "nats-server "+tested+" |")
	if embedded := version("services/go.mod", nats); embedded != tested {
		t.Errorf("freshet up has nats-server %s, the tests have %s", embedded, tested)
	}
	wantText(t, operationsFile, "versitygw "+version("scripts/tools/go.mod", "github.com/versity/versitygw")+" |")
	m := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindStringSubmatch(document(t, "services/go.mod"))
	if m == nil {
		t.Fatal("services/go.mod has no go line")
	}
	wantText(t, operationsFile, m[1]+" or newer")
	wantText(t, readmeFile, "Go "+m[1]+" or newer")
}

// TestCommandsOfRedis works on the catalog as a Redis user who has only the commands and keys that the document lists.
func TestCommandsOfRedis(t *testing.T) {
	list := regexp.MustCompile("(?s)Redis user needs the commands (.*?), on the keys `(.*?)`").FindStringSubmatch(document(t, operationsFile))
	if list == nil {
		t.Fatalf("%s lists no commands of Redis", operationsFile)
	}
	rules := []any{"ACL", "SETUSER", "limited", "on", ">secret", "resetkeys", "~" + list[2], "-@all"}
	for _, m := range regexp.MustCompile("`([A-Z]+)`").FindAllStringSubmatch(list[1], -1) {
		rules = append(rules, "+"+m[1])
	}
	server := servertest.Redis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()
	ctx := t.Context()
	if err := admin.Do(ctx, rules...).Err(); err != nil {
		t.Fatalf("%q: %v", rules, err)
	}
	rdb, err := catalog.Connect("redis://limited:secret@" + server.Addr + "/0")
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	index := catalog.New(rdb, "")
	st, err := storeurl.Open(ctx, "dir://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: st, Catalog: index})
	if err != nil {
		t.Fatal(err)
	}
	for version := range 2 {
		in := publish.Input{Body: strings.NewReader(fmt.Sprintf(`{"key":"a","v":%d}`, version)), Key: "key"}
		if result, err := p.Publish(ctx, "prices", in); err != nil || !result.Indexed {
			t.Fatalf("publish: %+v, %v", result, err)
		}
	}
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	rec, err := index.Latest(ctx, "prices")
	check("the newest version", err)
	_, err = index.Newest(ctx, []string{"prices"})
	check("the newest versions", err)
	_, err = index.Versions(ctx, "prices", 2)
	check("versions", err)
	_, err = index.Datasets(ctx)
	check("datasets", err)
	_, err = index.Replace(ctx, rec, rec.Ref())
	check("replace", err)
	check("record an instance", index.RecordInstance(ctx, "a", []byte("{}")))
	instances, err := index.Instances(ctx)
	check("instances", err)
	check("forget an instance", index.ForgetInstance(ctx, "a"))
	if len(instances) != 1 {
		t.Errorf("%d instances, want 1", len(instances))
	}
}
