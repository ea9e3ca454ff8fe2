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
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"freshet.dev/services/freshet/internal/cli"
	"freshet.dev/services/freshet/internal/exit"
)

var update = flag.Bool("update", false, "rewrite the generated tables of the documents")

// root is the repository's root, from this package's folder.
const root = "../.."

// The documents that tests read, by their paths from the root.
const (
	readmeFile     = "README.md"
	docs           = "deployments/docs/"
	operationsFile = docs + "operations.md"
	publishingFile = docs + "publishing.md"
	feedFile       = docs + "feed.md"
	indexesFile    = docs + "indexes.md"
	redisFile      = docs + "redis.md"
	settingsFile   = docs + "settings.md"
	metricsFile    = docs + "metrics.md"
)

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents returns the paths of all documents from the root.
func documents(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{readmeFile, docs + "*.md", docs + "decisions/*.md", ".github/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no document matches %s: %v", pattern, err)
		}
		for _, f := range found {
			name, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.ToSlash(name))
		}
	}
	return names
}

// blocks returns the code blocks of a document that follow a comment of the given kind, with the comment's argument.
func blocks(t *testing.T, name, kind string) (arguments, code []string) {
	t.Helper()
	find := regexp.MustCompile("(?s)<!-- " + kind + "(?:: ([^\n]*))? -->\n```[a-z]+\n(.*?)```\n")
	for _, m := range find.FindAllStringSubmatch(document(t, name), -1) {
		arguments, code = append(arguments, m[1]), append(code, m[2])
	}
	if len(code) == 0 {
		t.Fatalf("%s has no block of kind %s", name, kind)
	}
	return arguments, code
}

// TestREADMEGoCodeIsAnExample holds every block of Go, also of publishing.md, against the body of the Example that it is named
// for: it must be whole lines of it. The Example itself is compiled and run by its package's tests.
func TestREADMEGoCodeIsAnExample(t *testing.T) {
	for _, name := range []string{readmeFile, publishingFile} {
		t.Run(name, func(t *testing.T) { testGoCodeIsAnExample(t, name) })
	}
}

func testGoCodeIsAnExample(t *testing.T, page string) {
	comments, code := blocks(t, page, "example")
	if n := strings.Count(document(t, page), "```go\n"); n != len(code) {
		t.Errorf("%d blocks of Go, of which %d name an Example", n, len(code))
	}
	for i, comment := range comments {
		file, name, ok := strings.Cut(comment, " ")
		if !ok {
			t.Fatalf("%q is not FILE EXAMPLE", comment)
		}
		if body := exampleBody(t, filepath.Join(root, file), name); !strings.Contains("\n"+body, "\n"+code[i]) {
			t.Errorf("it shows of %s in %s:\n%s\nwhich has:\n%s", name, file, code[i], body)
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

// TestShellCodeOfDocumentsRuns runs the blocks that are marked so, in order and in one folder, against `freshet up`. Only
// the ports differ: those of the documents may be in use here.
func TestShellCodeOfDocumentsRuns(t *testing.T) {
	t.Setenv("FRESHET_LABELS", "zone=a,tier=canary") // as in operations.md
	t.Setenv("FRESHET_REMOTE_GET", "true")
	t.Setenv("FRESHET_INDEXES", "prices:cents^") // as in indexes.md
	t.Setenv("FRESHET_RESP_LISTEN", "127.0.0.1:0")
	p := begin(t, "up", "prices", "--dir", t.TempDir(),
		"--nats-port", "0", "--redis-port", "0", "--publisher-port", "0", "--relay-port", "0", "--server-port", "0")
	urls := map[string]string{}
	respPort := ""
	for p.lines.Scan() && !strings.HasPrefix(p.lines.Text(), "Ctrl-C") {
		if f := strings.Fields(p.lines.Text()); len(f) >= 2 {
			urls[f[0]] = f[1]
			if port, ok := strings.CutPrefix(f[0], "redis://127.0.0.1:"); ok {
				respPort = port
			}
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
		"http://127.0.0.1:8480", urls["publisher"], "http://127.0.0.1:8481", urls["relay"], "http://127.0.0.1:8482", urls["up-1"],
		"redis-cli -p 6380", "redis-cli -p "+respPort)
	dir := t.TempDir()
	var printed bytes.Buffer
	var code []string
	// Later blocks use the files and versions of earlier ones.
	for _, name := range []string{readmeFile, indexesFile, redisFile, publishingFile, operationsFile, feedFile} {
		_, more := blocks(t, name, "runs")
		code = append(code, more...)
	}
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
		"1 instance answers", `"agree": true`,
		`"records":[{"key":"B/2","value":{"sku":"B/2","cents":1250}}]`, "\n1250\n", "\nNODATASET ",
	) {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("printed no %q:\n%s", want, printed.String())
		}
	}
}

// metrics returns the metrics to watch, as each has its description in an answer of /metrics, without those
// of relays behind others and of the port in Redis' protocol, of which there is none here: the tests of services/relay and
// services/server look for them.
func metrics(t *testing.T) (descriptions []string) {
	t.Helper()
	watched, _, _ := strings.Cut(document(t, metricsFile), "<!-- metrics: begin -->")
	for _, m := range regexp.MustCompile("`(freshet_[a-z_]+)`").FindAllStringSubmatch(watched, -1) {
		if !strings.HasPrefix(m[1], "freshet_relay_upstream_") && !strings.HasPrefix(m[1], "freshet_resp_") {
			descriptions = append(descriptions, "# HELP "+m[1]+" ")
		}
	}
	for _, m := range regexp.MustCompile(`\b(freshet_[a-z_]+)`).FindAllStringSubmatch(document(t, operationsFile), -1) {
		descriptions = append(descriptions, "# HELP "+m[1]+" ")
	}
	if len(descriptions) < 30 {
		t.Errorf("the documents name only %q", descriptions)
	}
	return descriptions
}

// TestDocumentTables compares the tables of commands, exit codes, limits, settings and metrics with those that the code yields.
func TestDocumentTables(t *testing.T) {
	for _, place := range []struct{ file, name, table string }{
		{operationsFile, "commands", commandsTable()},
		{operationsFile, "exit codes", exitCodeTable()},
		{operationsFile, "findings", findingsTable()},
		{publishingFile, "limits", limitsTable()},
		{settingsFile, "settings", settingsTable(t)},
		{metricsFile, "metrics", metricsTable(t)},
	} {
		text := document(t, place.file)
		begin, end := "<!-- "+place.name+": begin -->\n", "<!-- "+place.name+": end -->\n"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place for the %s", place.file, place.name)
		}
		switch now := before + begin + place.table + end + after; {
		case now == text:
		case !*update:
			t.Errorf("%s has another table of %s than the code: run `go test -C services ./freshet -run TestDocumentTables -update`", place.file, place.name)
		default:
			if err := os.WriteFile(filepath.Join(root, place.file), []byte(now), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func commandsTable() string {
	var b strings.Builder
	b.WriteString("| command | what it does |\n|---|---|\n")
	for _, c := range cli.Commands() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(c.Use, "|", `\|`), c.Short)
	}
	return b.String()
}

func exitCodeTable() string {
	var b strings.Builder
	b.WriteString("| code | meaning |\n|---|---|\n")
	for _, c := range exit.Codes {
		fmt.Fprintf(&b, "| %d | %s |\n", c.Code, c.Text)
	}
	return b.String()
}

// TestLinksOfDocumentsLead follows every link within the repository, with its anchor.
func TestLinksOfDocumentsLead(t *testing.T) {
	links := 0
	for _, name := range documents(t) {
		for _, m := range regexp.MustCompile(`\]\(([^):#]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(document(t, name), -1) {
			links++
			target := name
			if m[1] != "" {
				target = path.Join(path.Dir(name), m[1])
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			} else if m[2] != "" && !slices.Contains(anchors(document(t, target)), m[2]) {
				t.Errorf("%s links to %s#%s, which has only %q", name, m[1], m[2], anchors(document(t, target)))
			}
		}
	}
	if links < 30 {
		t.Errorf("only %d links were found", links)
	}
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		heading := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(heading, " ", "-"))
	}
	return all
}

// TestFoldersOfTheREADMEExist looks for every folder that the README's table names.
func TestFoldersOfTheREADMEExist(t *testing.T) {
	_, folders, _ := strings.Cut(document(t, readmeFile), "## Where things are\n")
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]*) \|`).FindAllStringSubmatch(folders, -1) {
		for f := range strings.SplitSeq(m[1], ", ") {
			if !strings.HasPrefix(f, "`") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, strings.Trim(f, "`"))); err != nil {
				t.Errorf("README.md names %s: %v", f, err)
			}
		}
	}
}

// TestEveryPackageIsInTheREADME finds folders of packages that the README's table does not name.
func TestEveryPackageIsInTheREADME(t *testing.T) {
	_, folders, _ := strings.Cut(document(t, readmeFile), "## Where things are\n")
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
