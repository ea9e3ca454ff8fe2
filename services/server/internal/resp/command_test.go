package resp

import (
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

func TestReads(t *testing.T) {
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"cities": cities(t), "prices": new(fake).serve(t, 1, map[string]string{"a": "1"})}))
	for _, c := range [][2]string{
		{"GET cities:KR:2", `$16|{"name":"Busan"}`},
		{"get cities:none", "$0|"},
		{"GET cities:raw", "$4|\x00\x01|"},
		{"GET cities:JP:1", "$-1"},
		{"GET cities:", "$-1"},
		{"MGET cities:KR:2 prices:a cities:x cities:CH:1", "*4|$16|{\"name\":\"Busan\"}|$1|1|$-1|$18|{\"name\":\"Zürich\"}"},
		{"EXISTS cities:KR:1 cities:KR:1 cities:x prices:a", ":3"},
		{"STRLEN cities:KR:2", ":16"},
		{"STRLEN cities:x", ":0"},
		{"TYPE cities:KR:1", "+string"},
		{"TYPE cities:x", "+none"},
		{"TTL cities:KR:1", ":-1"},
		{"PTTL cities:x", ":-2"},
		{"DBSIZE", ":6"},
		{"SELECT 0", "+OK"},
		{"PING", "+PONG"},
		{"PING hello", "$5|hello"},
		{"ECHO hello", "$5|hello"},
		{"READONLY", "+OK"},
	} {
		k.want(c[0], c[1])
	}
	k.conn.proto.Store(3)
	k.want("GET cities:x", "_")
	k.want("MGET cities:x", "*1|_")
}

func TestMembers(t *testing.T) {
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"cities": cities(t)}))
	for _, c := range [][2]string{
		{"HGET cities:KR:1 name", "$5|Seoul"},
		{"HGET cities:KR:1 people", "$7|9400000"},
		{"HGET cities:KR:1 at", `$22|{"lat":37.5,"lon":127}`},
		{"HGET cities:KR:1 at.lat", "$4|37.5"},
		{`HGET cities:KR:1 a\.b`, "$1|1"},
		{`HGET cities:KR:1 q"`, "$3|x\ty"},
		{"HGET cities:KR:1 mayor", "$4|null"},
		{"HGET cities:KR:1 x", "$-1"},
		{"HGET cities:KR:9 name", "$-1"},
		{"HGET cities:KR:1 a..b", `-ERR not the path of a member: "a..b" has an empty name; want names separated by dots`},
		{"HMGET cities:KR:1 capital x tags", `*3|$4|true|$-1|$9|["a","b"]`},
		{"HMGET cities:KR:9 a b", "*2|$-1|$-1"},
		{"HEXISTS cities:KR:1 mayor", ":1"},
		{"HEXISTS cities:KR:1 x", ":0"},
		{"HGETALL cities:KR:2", "*2|$4|name|$5|Busan"},
		{"HGETALL cities:x", "*0"},
		{"HKEYS cities:KR:1", `*8|$4|name|$6|people|$2|at|$4|tags|$7|capital|$5|mayor|$2|q"|$3|a.b`},
		{"HVALS cities:KR:2", "*1|$5|Busan"},
		{"HLEN cities:KR:1", ":8"},
		{"HGET cities:raw x", `-WRONGTYPE Operation against a key holding the wrong kind of value: the value of "cities:raw" is no JSON object; GET returns it`},
		{"HGETALL cities:none", `-WRONGTYPE Operation against a key holding the wrong kind of value: the value of "cities:none" is no JSON object; GET returns it`},
	} {
		k.want(c[0], c[1])
	}
	k.conn.proto.Store(3)
	k.want("HGETALL cities:KR:2", "%1|$4|name|$5|Busan")
}

// Unknown datasets, datasets without a version and unknown keys have different replies.
func TestUnknownDatasets(t *testing.T) {
	dropped := &fake{deleted: &dataset.VersionRecord{Version: 4, Deleted: true, Dropped: true}}
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"cities": cities(t), "later": {}, "gone": dropped}))
	unknown := `-NODATASET this instance does not have dataset "towns"; it has cities, gone, later; FRESHET_DATASETS lists its datasets`
	for _, c := range [][2]string{
		{"GET towns:1", unknown},
		{"MGET cities:KR:1 towns:1", unknown},
		{"HGET towns:1 x", unknown},
		{"SCAN 0 MATCH towns:*", unknown},
		{"GET cities", `-NODATASET the key "cities" has no colon: want dataset:key, and a dataset of cities, gone, later`},
		{"GET later:1", "-LOADING no version of dataset later is served here yet; freshet status and /v1/status say why"},
		{"EXISTS later:1", "-LOADING no version of dataset later is served here yet; freshet status and /v1/status say why"},
		{"SCAN 0 MATCH later:*", "-LOADING no version of dataset later is served here yet; freshet status and /v1/status say why"},
		{"GET cities:1", "$-1"},
	} {
		k.want(c[0], c[1])
	}
	if got := k.do("GET", "gone:1"); !strings.HasPrefix(got, "-NODATASET dataset gone is ") || !strings.Contains(got, "no records of it") {
		t.Error(got)
	}
}

func TestRefusals(t *testing.T) {
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"cities": cities(t)}))
	for _, c := range [][2]string{
		{"SET cities:1 x", `-READONLY freshet's datasets are read-only here, "set" changes nothing: publish a version with freshet publish`},
		{"FLUSHALL", `-READONLY freshet's datasets are read-only here, "flushall" changes nothing: publish a version with freshet publish`},
		{"MULTI", "-ERR unknown command 'multi': there are no transactions: MGET reads all keys of a dataset in one version; make pipelines without MULTI (redis-py: transaction=False)"},
		{"FOO", `-ERR unknown command "foo"; COMMAND LIST has the commands of this port`},
		{"GET", "-ERR wrong number of arguments for 'get' command"},
		{"HMGET cities:1", "-ERR wrong number of arguments for 'hmget' command"},
		{"SELECT 1", "-ERR DB index is out of range: freshet has database 0 only; datasets are named in keys, dataset:key"},
		{"SCAN x", "-ERR invalid cursor"},
		{"SCAN 0 COUNT 0", "-ERR syntax error"},
		{"SCAN 0 MATCH", "-ERR syntax error"},
		{"SCAN 0 MATCH cities:[ab]*", `-ERR the pattern "cities:[ab]*" has a [, which is not supported: MATCH takes *, ? and a backslash before them`},
		{"AUTH x", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"},
		{"AUTH default x", "+OK"},
		{"AUTH other x", "-" + wrongPassword},
		{"HELLO 4", "-NOPROTO unsupported protocol version"},
		{"CONFIG SET a b", "-ERR only CONFIG GET is served; the settings of freshet-server are environment variables"},
		{"CLIENT TRACKING ON", "-ERR client tracking is switched off on this server"},
		{"CLIENT PAUSE 1", "-ERR unknown subcommand or wrong number of arguments for '\"PAUSE\"'. CLIENT has " + clientSubcommands + "."},
		{"MGET" + strings.Repeat(" cities:1", 51), "-ERR the command has 51 keys, the limit is 50 (FRESHET_BATCH_KEYS); send several"},
	} {
		k.want(c[0], c[1])
	}
}

// The values of an MGET and of an HMGET are bounded together.
func TestLargeValues(t *testing.T) {
	big := `{"x":"` + strings.Repeat("y", dataset.MaxValueBytes-8) + `"}`
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"big": new(fake).serve(t, 1, map[string]string{"a": big})}))
	if got := k.do("MGET", "big:a", "big:a"); len(got) < 2*len(big) {
		t.Errorf("%.100q", got)
	}
	k.want("MGET big:a big:a big:a", "-ERR the values have 3145728 bytes, the limit is 2097152 (FRESHET_BATCH_BYTES); send several commands")
	k.want("HMGET big:a x x x", "-ERR the members have more than 2097152 bytes (FRESHET_BATCH_BYTES)")
}

func TestHello(t *testing.T) {
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"cities": cities(t)}))
	k.want("HELLO", "*14|$6|server|$5|redis|$7|version|$5|7.2.0|$5|proto|:2|$2|id|:7|$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0")
	k.want("HELLO 3 SETNAME me", "%7|$6|server|$5|redis|$7|version|$5|7.2.0|$5|proto|:3|$2|id|:7|$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0")
	k.want("CLIENT GETNAME", "$2|me")
	k.want("RESET", "+RESET")
	k.want("CLIENT GETNAME", "$-1")
	k.want("CLIENT SETNAME a\x01b", "-"+badName)
}

func TestPassword(t *testing.T) {
	cfg := testConfig()
	cfg.Password = "open sesame"
	k := newTalk(t, newPort(cfg, map[string]*fake{"cities": cities(t)}))
	const denied = "-NOAUTH Authentication required."
	for _, c := range [][2]string{{"GET cities:KR:1", denied}, {"PING", denied}, {"FOO", denied}, {"CLIENT ID", denied}, {"AUTH x", "-" + wrongPassword}, {"AUTH", "-ERR wrong number of arguments for 'auth' command"}} {
		k.want(c[0], c[1])
	}
	if got := k.do("HELLO", "3"); !strings.HasPrefix(got, "-NOAUTH HELLO must") {
		t.Error(got)
	}
	if got := k.do("AUTH", "other", "open sesame"); got != "-"+wrongPassword+"\r\n" {
		t.Error(got)
	}
	if got := k.do("HELLO", "3", "AUTH", "default", "open sesame"); !strings.HasPrefix(got, "%7") {
		t.Error(got)
	}
	k.want("GET cities:x", "_")
	k.want("RESET", "+RESET")
	k.want("PING", denied)
	if got := k.do("AUTH", "open sesame"); got != "+OK\r\n" {
		t.Error(got)
	}
	k.want("PING", "+PONG")

	stranger := newTalk(t, newPort(cfg, nil))
	if got := stranger.send("*11\r\n"); !strings.Contains(got, "the limit is 10") || !stranger.conn.closing {
		t.Error(got)
	}
}

func TestClientCommands(t *testing.T) {
	p := newPort(testConfig(), map[string]*fake{"cities": cities(t)})
	k := newTalk(t, p)
	p.conns[7] = k.conn
	k.want("CLIENT ID", ":7")
	k.want("CLIENT SETNAME app", "+OK")
	k.want("CLIENT SETINFO LIB-NAME lib", "+OK")
	k.want("CLIENT SETINFO lib-ver 1.2", "+OK")
	k.want("CLIENT NO-EVICT on", "+OK")
	for _, sub := range []string{"INFO", "LIST"} {
		if got := k.do("CLIENT", sub); !strings.Contains(got, "id=7 ") || !strings.Contains(got, " name=app ") || !strings.Contains(got, "cmd=client user=default lib-name=lib lib-ver=1.2 resp=2\n") {
			t.Error(got)
		}
	}
	if got := k.send(encode("CLIENT", "REPLY", "OFF") + encode("GET", "cities:x") + encode("CLIENT", "REPLY", "ON")); got != "+OK\r\n" {
		t.Errorf("%q", got)
	}
	if got := k.send(encode("CLIENT", "REPLY", "SKIP") + encode("GET", "cities:x") + encode("ECHO", "b")); got != "$1\r\nb\r\n" {
		t.Errorf("%q", got)
	}
	if got := k.send(encode("QUIT") + encode("PING")); got != "+OK\r\n" || !k.conn.closing {
		t.Errorf("%q", got)
	}
}

func TestDescriptions(t *testing.T) {
	p := newPort(testConfig(), map[string]*fake{"cities": cities(t), "later": {}})
	k := newTalk(t, p)
	k.want("COMMAND COUNT", ":"+strings.TrimSpace(strings.TrimPrefix(k.do("COMMAND", "LIST")[:4], "*")))
	k.want("COMMAND INFO get nope", "*2|*10|$3|get|:2|*2|+fast|+readonly|:1|:1|:1|*0|*0|*0|*0|*-1")
	if got := k.do("COMMAND", "DOCS", "mget", "nope"); !strings.HasPrefix(got, "*2\r\n$4\r\nmget\r\n*6\r\n$7\r\nsummary\r\n") {
		t.Error(got)
	}
	if got := k.do("COMMAND"); strings.Count(got, "*10\r\n") != len(commands) {
		t.Error(got)
	}
	k.want("CONFIG GET save", "*2|$4|save|$0|")
	k.want("CONFIG GET appendonly nope", "*2|$10|appendonly|$2|no")
	got := k.do("INFO")
	for _, want := range []string{
		"# Server\r\nredis_version:7.2.0\r\n", "freshet_version:v0.0-test\r\n", "role:master\r\n", "loading:0\r\n", "db0:keys=5,expires=0,avg_ttl=0\r\n",
		"dataset_cities:version=3,records=5,bytes=", ",deleted=false\r\n", "dataset_later:version=0,records=0,bytes=0\r\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("INFO lacks %q:\n%s", want, got)
		}
	}
	if got := k.do("INFO", "keyspace", "commandstats"); !strings.Contains(got, "# Keyspace") || !strings.Contains(got, "cmdstat_info:calls=1") || strings.Contains(got, "# Server") {
		t.Error(got)
	}
	k.conn.proto.Store(3)
	if got := k.do("INFO", "cluster"); got != "=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n" {
		t.Errorf("%q", got)
	}
}

// After a command of many keys nothing keeps the version in memory that it has read.
func TestVersionsAreReleased(t *testing.T) {
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"cities": cities(t)}))
	for _, command := range []string{"MGET", "EXISTS"} {
		k.do(command, "cities:KR:1", "cities:KR:2")
		for _, o := range k.executor.opened[:cap(k.executor.opened)] {
			if o.table != nil {
				t.Errorf("%s keeps a table", command)
			}
		}
		for _, v := range k.executor.values[:cap(k.executor.values)] {
			if v != nil {
				t.Errorf("%s keeps a value", command)
			}
		}
	}
}

// Clients that wait for loading:0 wait for the first dataset only.
func TestLoading(t *testing.T) {
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"later": {}}))
	if got := k.do("INFO", "persistence"); !strings.Contains(got, "loading:1\r\n") {
		t.Error(got)
	}
}

// A read allocates nothing, whether it finds a record or not.
func TestAllocations(t *testing.T) {
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"cities": cities(t)}))
	for _, args := range [][]string{
		{"GET", "cities:KR:1"}, {"get", "cities:x"}, {"MGET", "cities:KR:1", "cities:x", "cities:KR:2"}, {"EXISTS", "cities:KR:1"}, {"HGET", "cities:KR:1", "name"},
	} {
		in, out := []byte(encode(args...)), make([]byte, 0, 4096)
		if n := testing.AllocsPerRun(100, func() { k.executor.run(k.conn, in, out) }); n > 0 {
			t.Errorf("%q allocates %v times", args, n)
		}
	}
}

// A page in a browser that sends a request to the port gets no command executed.
func TestCrossProtocol(t *testing.T) {
	k := newTalk(t, newPort(testConfig(), map[string]*fake{"cities": cities(t)}))
	if got := k.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nGET cities:raw\r\n"); got != "" || !k.conn.closing {
		t.Errorf("%q", got)
	}
}
