package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kelseyhightower/envconfig"

	"freshet.dev/services/freshet/internal/cli"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
	"freshet.dev/services/relay"
	"freshet.dev/services/server"
)

var update = flag.Bool("update", false, "write the generated parts of README.md anew")

// root is the repository's root, from this package's folder.
const root = "../.."

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the code blocks of the README that stand below a comment of the given kind, with the comment's text.
func blocks(t *testing.T, kind string) (comments, code []string) {
	t.Helper()
	find := regexp.MustCompile("(?s)<!-- " + kind + ": ([^\n]*) -->\n```[a-z]+\n(.*?)```\n")
	for _, m := range find.FindAllStringSubmatch(readme(t), -1) {
		comments, code = append(comments, m[1]), append(code, m[2])
	}
	if len(code) == 0 {
		t.Fatalf("README.md has no block of kind %s", kind)
	}
	return comments, code
}

// TestREADMEGoCodeIsAnExample holds every block of Go against the body of the Example that it is named for: it must be
// whole lines of it. The Example itself is compiled and run by its package's tests.
func TestREADMEGoCodeIsAnExample(t *testing.T) {
	if n := strings.Count(readme(t), "```go\n"); n == 0 {
		t.Fatal("README.md has no Go code")
	}
	comments, code := blocks(t, "example")
	if n := strings.Count(readme(t), "```go\n"); n != len(code) {
		t.Errorf("%d blocks of Go, of which %d name an Example", n, len(code))
	}
	for i, comment := range comments {
		file, name, ok := strings.Cut(comment, " ")
		if !ok {
			t.Fatalf("%q is not FILE EXAMPLE", comment)
		}
		if body := exampleBody(t, filepath.Join(root, file), name); !strings.Contains("\n"+body, "\n"+code[i]) {
			t.Errorf("README.md shows of %s in %s:\n%s\nwhich has:\n%s", name, file, code[i], body)
		}
	}
}

// exampleBody returns the lines between the braces of a function, one tab less deep.
func exampleBody(t *testing.T, file, name string) string {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			body := source[files.Position(f.Body.Lbrace).Offset+2 : files.Position(f.Body.Rbrace).Offset]
			return regexp.MustCompile(`(?m)^\t`).ReplaceAllString(string(body), "")
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return ""
}

// TestREADMEShellCodeRuns runs the blocks that are marked so, in order and in one folder, against `freshet up`. Only
// the ports differ: those of the README may be taken here.
func TestREADMEShellCodeRuns(t *testing.T) {
	p := begin(t, "up", "prices", "--dir", t.TempDir(),
		"--nats-port", "0", "--redis-port", "0", "--publisher-port", "0", "--relay-port", "0", "--server-port", "0")
	urls := map[string]string{}
	for p.lines.Scan() && !strings.HasPrefix(p.lines.Text(), "Ctrl-C") {
		if f := strings.Fields(p.lines.Text()); len(f) >= 2 {
			urls[f[0]] = f[1]
		}
	}
	defer func() {
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if _, code := p.end(t); code != 0 {
			t.Errorf("freshet up: exit code %d: %s", code, p.stderr.String())
		}
	}()
	ports := strings.NewReplacer(
		"http://127.0.0.1:8480", urls["publisher"], "http://127.0.0.1:8481", urls["relay"], "http://127.0.0.1:8482", urls["up-1"])
	dir := t.TempDir()
	var printed bytes.Buffer
	_, code := blocks(t, "runs")
	for _, block := range code {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", ports.Replace(block))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"),
			"FRESHET_PUBLISHER_URL="+urls["publisher"], "FRESHET_SERVER_URL="+urls["up-1"], "FRESHET_NATS_URL="+urls["NATS"], "FRESHET_REDIS_URL="+urls["Redis"])
		out, err := cmd.CombinedOutput()
		printed.Write(out)
		if err != nil {
			t.Errorf("%v in\n%s\n%s", err, block, out)
		}
	}
	for _, want := range append(metrics(t),
		"up-1 serves version 1", `{"sku":"A1","cents":995}`, `{"sku":"B/2","cents":1250}`, "no such key", "fresh",
		"prices version 2: 1 record (0 added, 1 changed, 1 removed)", "up-1 serves version 2",
		`"patch":{"added":1,"changed":0,"removed":1,"unchanged":0,"missing":0}`, "1 delta",
	) {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("printed no %q:\n%s", want, printed.String())
		}
	}
}

// metrics returns the metrics that the README names, as each has its description in an answer of /metrics, but for those
// of relays behind others, of which there is none here: services/relay's own tests look for them.
func metrics(t *testing.T) (descriptions []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("`(freshet_[a-z_]+)`").FindAllStringSubmatch(readme(t), -1) {
		if !strings.HasPrefix(m[1], "freshet_relay_upstream_") {
			descriptions = append(descriptions, "# HELP "+m[1]+" ")
		}
	}
	if len(descriptions) < 10 {
		t.Errorf("README.md names only %q", descriptions)
	}
	return descriptions
}

// TestREADMETables holds the tables of exit codes, limits and settings against the code that they are made from.
func TestREADMETables(t *testing.T) {
	text := readme(t)
	now := text
	for name, table := range map[string]string{"exit codes": exitCodeTable(), "limits": limitsTable(), "settings": settingsTable(t)} {
		begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
		before, rest, ok := strings.Cut(now, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("README.md has no place for the %s", name)
		}
		now = before + begin + table + end + after
	}
	if now == text {
		return
	}
	if !*update {
		t.Fatal("README.md has other tables than the code: run `go test ./services/freshet -run TestREADMETables -update`")
	}
	if err := os.WriteFile(filepath.Join(root, "README.md"), []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exitCodeTable() string {
	var b strings.Builder
	b.WriteString("| code | meaning |\n|---|---|\n")
	for _, c := range exit.Codes {
		fmt.Fprintf(&b, "| %d | %s |\n", c.Code, c.Text)
	}
	return b.String()
}

// setting is a row of the table of settings: one variable of one or more programs.
type setting struct {
	name, meaning       string
	programs, fallbacks []string
}

func settingsTable(t *testing.T) string {
	t.Helper()
	var rows []setting
	add := func(name, program, fallback, meaning string) {
		i := slices.IndexFunc(rows, func(s setting) bool { return s.name == name && s.meaning == meaning })
		if i < 0 {
			i = len(rows)
			rows = append(rows, setting{name: name, meaning: meaning})
		}
		rows[i].programs = append(rows[i].programs, program)
		if fallback != "" && !slices.Contains(rows[i].fallbacks, fallback) {
			rows[i].fallbacks = append(rows[i].fallbacks, fallback)
		}
	}
	for _, p := range programs {
		for _, s := range variables(t, p.config) {
			add(s[0], p.name, s[1], strings.ReplaceAll(s[2], "when the "+p.name+" stops", "when it stops"))
		}
	}
	for _, e := range cli.Variables() {
		add(e.Name, "freshet", e.Default, e.Meaning)
	}
	slices.SortStableFunc(rows, func(a, b setting) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString("| variable | of | default | meaning |\n|---|---|---|---|\n")
	for _, r := range rows {
		fallback := strings.Join(r.fallbacks, "`, `")
		if fallback != "" {
			fallback = "`" + fallback + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.name, strings.Join(r.programs, ", "), fallback, strings.ReplaceAll(r.meaning, "<", `\<`))
	}
	return b.String()
}

// programs are the services with their configurations.
var programs = []struct {
	name   string
	config any
}{
	{"publisher", new(publisher.Config)},
	{"relay", new(relay.Config)},
	{"server", new(server.Config)},
}

// variables returns name, default and meaning of every variable of a configuration.
func variables(t *testing.T, config any) (all [][3]string) {
	t.Helper()
	var b strings.Builder
	const row = "{{range .}}{{usage_key .}}\t{{usage_default .}}\t{{usage_description .}}\n{{end}}"
	if err := envconfig.Usagef(settings.Prefix, config, &b, row); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		cells := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		all = append(all, [3]string(cells))
	}
	return all
}

// TestREADMENamesWhatExists follows every link within the repository, and every folder named in a table.
func TestREADMENamesWhatExists(t *testing.T) {
	text := readme(t)
	var named []string
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
		named = append(named, m[1])
	}
	_, folders, _ := strings.Cut(text, "## Where things are\n")
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]*) \|`).FindAllStringSubmatch(folders, -1) {
		for f := range strings.SplitSeq(m[1], ", ") {
			if strings.HasPrefix(f, "`") {
				named = append(named, strings.Trim(f, "`"))
			}
		}
	}
	if len(named) < 20 {
		t.Errorf("only %d links and folders were found: %v", len(named), named)
	}
	for _, n := range named {
		if _, err := os.Stat(filepath.Join(root, n)); err != nil {
			t.Errorf("README.md names %s: %v", n, err)
		}
	}
}

// TestEveryPackageIsInTheREADME finds folders of packages that the README's table does not name.
func TestEveryPackageIsInTheREADME(t *testing.T) {
	_, folders, _ := strings.Cut(readme(t), "## Where things are\n")
	for _, parent := range []string{"pkg", "services"} {
		entries, err := os.ReadDir(filepath.Join(root, parent))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := parent + "/" + e.Name(); e.IsDir() && !strings.Contains(folders, "`"+name+"`") {
				t.Errorf("README.md does not say what %s is", name)
			}
		}
	}
}
