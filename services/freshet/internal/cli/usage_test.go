package cli

import (
	"fmt"
	"strings"
	"testing"

	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/build"
)

func TestUsage(t *testing.T) {
	records := file(t, "p.ndjson", oldPrices)
	for _, c := range []struct {
		want string // in the one message on stderr
		args []string
	}{
		{"unknown command \"publsh\" (did you mean publish?); `freshet --help` shows", []string{"publsh"}},
		{"did you mean status?", []string{"stats"}},
		{"did you mean status?", []string{"statuss", "--watch"}},
		{"unknown command \"nothing-like-it\"; `freshet --help` shows", []string{"nothing-like-it"}},
		{"requires at least 2 arg(s)", []string{"publish", "prices"}},
		{"unknown flag: --nope", []string{"status", "--nope"}},
		{"not a dataset name", []string{"publish", "Prices", records}},
		{"not a dataset name", []string{"get", "Prices", "A1"}},
		{"not a dataset name", []string{"versions", "a.b"}},
		{"not a dataset name", []string{"status", "a b"}},
		{"not a dataset name", []string{"up", "Prices", "--dir", t.TempDir()}},
		{"there is no file", []string{"publish", "prices", "no-such-file"}},
		{"has no file; files whose names", []string{"publish", "prices", t.TempDir()}},
		{"there is no format", []string{"publish", "prices", records, "--format", "xml"}},
		{`--label "a": want name=value`, []string{"publish", "prices", records, "--label", "a"}},
		{"--label a comes twice", []string{"publish", "prices", records, "--label", "a=1", "--label", "a=2"}},
		{"a member of the key has no name", []string{"publish", "prices", records, "--key", ""}},
		{"--wait-timeout", []string{"publish", "prices", records, "--wait", "--wait-timeout", "0s"}},
		{`the key has the member "sku" twice`, []string{"publish", "prices", records, "--key", "sku", "--key", "sku"}},
		{"the flag --limit comes twice", []string{"versions", "prices", "--limit", "1", "--limit", "2"}},
		{"not a URL of a publisher", []string{"publish", "prices", records, "--publisher", "127.0.0.1:8480"}},
		{"not a URL of a server", []string{"get", "prices", "A1", "--server", "nats://h"}},
		{"--nats", []string{"status", "--nats", "http://h"}},
		{"--redis", []string{"status", "--redis", "http://h"}},
		{"FRESHET_NAMESPACE: not a namespace", []string{"status", "--namespace", "Prod"}},
		{"FRESHET_NAMESPACE: not a namespace", []string{"publish", "prices", records, "--namespace", "a.b"}},
		{"FRESHET_NAMESPACE: not a namespace", []string{"up", "prices", "--namespace", ">", "--dir", t.TempDir()}},
		{"FRESHET_NAMESPACE: not a namespace", []string{"demo", "--namespace", "a b"}},
		{"--interval", []string{"status", "--interval", "1ms"}},
		{"--max-lag", []string{"status", "--max-lag", "-1s"}},
		{"--instances -1: want 1 or more", []string{"status", "--fail-if-stale", "--instances", "-1"}},
		{"--instances 0: want 1 or more", []string{"status", "--fail-if-stale", "--instances", "0"}},
		{"--instances requires --fail-if-stale", []string{"status", "--instances", "2"}},
		{"--wide is for text output", []string{"status", "--wide", "--output", "json"}},
		{"--redis", []string{"publish", "prices", records, "--wait", "--redis", "http://h"}},
		{"leave one of them out", []string{"status", "--watch", "--fail-if-stale"}},
		{"the key is empty", []string{"get", "prices", ""}},
		{"--version reads the publisher's store; leave out --instance", []string{"get", "prices", "A1", "--version", "1", "--all"}},
		{"choose instances with one of --instance, --label and --all", []string{"get", "prices", "A1", "--all", "--instance", "a"}},
		{"choose instances with one of --instance, --label and --all", []string{"get", "prices", "A1", "--instance", ""}},
		{"--label: unusable labels: \"tier\" is no label; want name=value", []string{"get", "prices", "A1", "--label", "tier"}},
		{"the label tier comes twice", []string{"get", "prices", "A1", "--label", "tier=a", "--label", "tier=b"}},
		{"the key \"A1\" comes twice", []string{"get", "prices", "A1", "B2", "A1", "--all"}},
		{"65 keys: want at most 64", append([]string{"get", "prices", "--all"}, manyKeys(65)...)},
		{"--timeout 1ms: want 100ms or more", []string{"get", "prices", "A1", "--all", "--timeout", "1ms"}},
		{"--nats", []string{"get", "prices", "A1", "--all", "--nats", "http://h"}},
		{"--redis", []string{"get", "prices", "A1", "--all", "--redis", "http://h"}},
		{"FRESHET_NAMESPACE: not a namespace", []string{"get", "prices", "A1", "--all", "--namespace", "Prod"}},
		{"--label: unusable labels: the name \"Tier\"", []string{"status", "--label", "Tier=a"}},
		{"--limit", []string{"versions", "prices", "--limit", "0"}},
		{"use text or json", []string{"versions", "prices", "--output", "xml"}},
		{"requires at least 1 arg", []string{"up"}},
		{"0 instances", []string{"up", "prices", "--instances", "0", "--dir", t.TempDir()}},
		{"port 70000", []string{"demo", "--nats-port", "70000"}},
		{"unknown command", []string{"demo", "now"}},
		{"not a dataset name", []string{"settings", "Prices"}},
		{"accepts 1 arg(s)", []string{"settings"}},
		{"needs --reason", []string{"settings", "prices", "--set", "min_records=5"}},
		{"want name=value", []string{"settings", "prices", "--set", "min_records", "--reason", "x"}},
		{"want name=value", []string{"settings", "prices", "--set", "min_records=", "--reason", "x"}},
		{"the setting min_records comes twice", []string{"settings", "prices", "--set", "min_records=5", "--unset", "min_records", "--reason", "x"}},
		{"--reason and --by belong to a change", []string{"settings", "prices", "--reason", "x"}},
		{"not a dataset name", []string{"events", "Prices"}},
		{"accepts at most 1 arg(s)", []string{"events", "prices", "cities"}},
		{"--since \"yesterday\"", []string{"events", "--since", "yesterday"}},
		{"--since \"-2h\"", []string{"events", "--since", "-2h"}},
		{"--from-version requires a dataset", []string{"events", "--from-version", "3"}},
		{"versions begin at 1", []string{"events", "prices", "--from-version", "0"}},
		{"exclude each other", []string{"events", "prices", "--from-version", "3", "--since", "2h"}},
		{"--nats", []string{"events", "--follow", "--nats", "http://h"}},
		{"FRESHET_NAMESPACE: not a namespace", []string{"events", "--namespace", "a.b"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r := run(t.Context(), nil, "", c.args...)
			r.want(t, exit.Usage, "stderr:"+c.want)
			if r.out != "" || !strings.HasPrefix(r.err, "freshet: ") || strings.Count(r.err, "\n") != 1 {
				t.Errorf("stdout %q, stderr %q: want one line on stderr", r.out, r.err)
			}
		})
	}
}

// manyKeys returns n different keys.
func manyKeys(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint("k", i))
	}
	return keys
}

// A flag whose value is a URL may hold a password.
func TestRepeatedURLIsNotPrinted(t *testing.T) {
	for flag, command := range map[string][]string{
		"--nats": {"status"}, "--redis": {"status"}, "--publisher": {"versions", "prices"}, "--server": {"get", "prices", "A1"},
	} {
		r := run(t.Context(), nil, "", append(command, flag, "nats://a@h", flag, "nats://hunter2@h")...)
		r.want(t, exit.Usage, "stderr:the flag "+flag+" comes twice")
		if strings.Contains(r.err, "hunter2") {
			t.Errorf("%s: %s", flag, r.err)
		}
	}
}

func TestHelp(t *testing.T) {
	r := run(t.Context(), nil, "")
	r.want(t, exit.OK, "stdout:freshet demo", "stdout:Exit codes")
	for _, c := range exit.Codes {
		r.want(t, exit.OK, fmt.Sprintf("stdout:%3d  %s", c.Code, c.Text))
	}
	for _, name := range []string{"publish", "rollback", "get", "versions", "status", "up", "demo", "settings", "events"} {
		run(t.Context(), nil, "", name, "--help").want(t, exit.OK, "stdout:Usage:", "stdout:freshet "+name)
	}
}

// TestDefaultsFromTheEnvironment sets addresses by variables. A flag overrides a variable, and an empty variable counts as not set.
func TestDefaultsFromTheEnvironment(t *testing.T) {
	env := map[string]string{"FRESHET_PUBLISHER_URL": "http://from-the-environment.invalid"}
	run(t.Context(), env, "", "versions", "--help").want(t, exit.OK, "stdout:from-the-environment", "stdout:$FRESHET_PUBLISHER_URL")
	run(t.Context(), env, "", "versions", "prices", "--publisher", "nonsense").want(t, exit.Usage, "stderr:nonsense")
	run(t.Context(), map[string]string{"FRESHET_REDIS_URL": "redis://:hunter2@h"}, "", "status", "--help").want(t, exit.OK, "stdout:redis://xxxxx@h", "!hunter2")
	run(t.Context(), map[string]string{"FRESHET_NAMESPACE": "prod"}, "", "status", "--help").want(t, exit.OK, `stdout:(default "prod")`)
	run(t.Context(), map[string]string{"FRESHET_NAMESPACE": "Prod"}, "", "status").want(t, exit.Usage, `stderr:"Prod"`)
	run(t.Context(), map[string]string{"FRESHET_PUBLISHER_URL": ""}, "", "versions", "--help").want(t, exit.OK, "stdout:http://127.0.0.1:8480")
}

// TestMisspeltVariables has variables in the environment that no program knows.
func TestMisspeltVariables(t *testing.T) {
	with := func(variable string, args ...string) result {
		t.Helper()
		var out, errs strings.Builder
		code := Run(t.Context(), Process{
			In: strings.NewReader(""), Out: &out, Err: &errs, Command: "freshet", Environ: []string{variable + "=redis://h", "HOME=/"},
			LookupEnv: func(string) (string, bool) { return "", false },
		}, args)
		return result{code, out.String(), errs.String()}
	}
	get := []string{"get", "prices", ""} // refused before it connects to a service
	with("FRESHET_REDIS_UL", get...).want(t, exit.Usage, "stderr:FRESHET_REDIS_UL is not a setting; did you mean FRESHET_REDIS_URL?\n", "!the key is empty")
	with("FRESHET_REDIS_UL").want(t, exit.OK, "stdout:Usage:")
	with("FRESHET_QUITE_ANOTHER", get...).want(t, exit.Usage, "stderr:warning: FRESHET_QUITE_ANOTHER is not a setting", "stderr:the key is empty")
	with("FRESHET_STORE_URL", get...).want(t, exit.Usage, "!warning", "stderr:the key is empty")
}

func TestVersion(t *testing.T) {
	run(t.Context(), nil, "", "--version").want(t, exit.OK, "stdout:freshet "+build.Read().String()+"\n", "stdout:revision ")
}
