package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kelseyhightower/envconfig"

	"freshet.dev/services/freshet/internal/cli"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
	"freshet.dev/services/relay"
	"freshet.dev/services/server"
)

// setting is a row of the table of settings: one variable of one or more programs.
type setting struct {
	name, meaning                string
	programs, fallbacks, allowed []string
}

func settingsTable(t *testing.T) string {
	t.Helper()
	var rows []setting
	add := func(name, program, fallback, allowed, meaning string) {
		i := slices.IndexFunc(rows, func(s setting) bool { return s.name == name && s.meaning == meaning })
		if i < 0 {
			i = len(rows)
			rows = append(rows, setting{name: name, meaning: meaning})
		}
		r := &rows[i]
		r.programs = append(r.programs, program)
		if fallback != "" && !slices.Contains(r.fallbacks, fallback) {
			r.fallbacks = append(r.fallbacks, fallback)
		}
		if allowed != "" && !slices.Contains(r.allowed, allowed) {
			r.allowed = append(r.allowed, allowed)
		}
	}
	for _, p := range programs {
		for i, s := range variables(t, p.config) {
			add(s[0], p.name, s[1], allowed(t, p.config, i, s[0]), strings.ReplaceAll(s[2], "when the "+p.name+" stops", "when it stops"))
		}
	}
	for _, e := range cli.Variables() {
		add(e.Name, "freshet", e.Default, "", e.Meaning)
	}
	slices.SortStableFunc(rows, func(a, b setting) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString("| variable | of | default | allowed | meaning |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fallback := strings.Join(r.fallbacks, "`, `")
		if fallback != "" {
			fallback = "`" + fallback + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n",
			r.name, strings.Join(r.programs, ", "), fallback, strings.Join(r.allowed, "; "), strings.ReplaceAll(r.meaning, "<", `\<`))
	}
	return b.String()
}

// programs are the services with their configurations.
var programs = []struct {
	name   string
	config interface{ Validate() error }
}{
	{"publisher", new(publisher.Config)},
	{"relay", new(relay.Config)},
	{"server", new(server.Config)},
}

// variables returns name, default and meaning of every variable of a configuration, in the order of its fields.
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
	if fields := reflect.TypeOf(config).Elem().NumField(); len(all) != fields {
		t.Fatalf("%T has %d variables in %d fields", config, len(all), fields)
	}
	return all
}

// allowed returns the range of the variable in field i of a configuration, from the errors of Validate about values outside of it. The
// range is empty if Validate has none.
func allowed(t *testing.T, config any, i int, name string) string {
	t.Helper()
	// refused returns what pattern finds in the error about the value.
	refused := func(value any, pattern string) string {
		c := reflect.New(reflect.TypeOf(config).Elem())
		if listen := c.Elem().FieldByName("RespListen"); listen.IsValid() {
			listen.SetString("6380") // without it the other settings of the port are not validated
		}
		c.Elem().Field(i).Set(reflect.ValueOf(value).Convert(c.Elem().Field(i).Type()))
		err := c.Interface().(interface{ Validate() error }).Validate()
		for line := range strings.Lines(fmt.Sprint(err)) {
			if m := regexp.MustCompile(pattern).FindStringSubmatch(line); m != nil && strings.Contains(line, name+" ") {
				return strings.TrimSpace(m[1])
			}
		}
		return ""
	}
	switch field := reflect.TypeOf(config).Elem().Field(i).Type; field.Kind() {
	case reflect.Int, reflect.Int64:
		lowest, highest := reflect.New(field).Elem(), reflect.New(field).Elem()
		lowest.SetInt(math.MinInt64)
		highest.SetInt(math.MaxInt64)
		least, most := refused(lowest.Interface(), "want at least (.*)"), refused(highest.Interface(), "want at most (.*)")
		switch {
		case most != "":
			return short(least) + " to " + short(most)
		case least != "":
			return short(least) + " or more"
		}
	case reflect.String:
		schemes := refused("no URL", "want a URL beginning with (.*)")
		if most := refused(strings.Repeat("x", 1000), "the most is ([0-9]+)"); most != "" {
			return "at most " + most + " bytes"
		}
		return strings.ReplaceAll(schemes, " or ", ", ")
	case reflect.Slice:
		return strings.ReplaceAll(refused([]string{"no URL"}, "want a URL beginning with (.*)"), " or ", ", ")
	}
	return ""
}

// short returns the text of a limit as the environment may have it: 1GiB and not 1.0 GiB.
func short(limit string) string {
	limit = regexp.MustCompile(`^0( B|s)$`).ReplaceAllString(limit, "0")
	return regexp.MustCompile(`^(\d+)(?:\.0)? (\wi?B|B)$`).ReplaceAllString(limit, "$1$2")
}

// TestAWSVariables compares the variables of S3 in the settings with those that the store and the S3 client read.
func TestAWSVariables(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/minio/minio-go/v7")
	list.Stderr = os.Stderr
	dir, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	client := filepath.Join(strings.TrimSpace(string(dir)), "pkg", "credentials")
	files, err := filepath.Glob(filepath.Join(root, "pkg/store/s3/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var read []string
	for _, file := range append(files, filepath.Join(client, "env_aws.go"), filepath.Join(client, "iam_aws.go")) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(AWS_[A-Z_]+)"`).FindAllStringSubmatch(string(source), -1) {
			// The client reads these names if the usual ones are not set, and the store requires the usual ones.
			if m[1] != "AWS_ACCESS_KEY" && m[1] != "AWS_SECRET_KEY" {
				read = append(read, m[1])
			}
		}
	}
	var written []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(AWS_[A-Z_]+)` \\|").FindAllStringSubmatch(document(t, settingsFile), -1) {
		written = append(written, m[1])
	}
	slices.Sort(read)
	slices.Sort(written)
	if read = slices.Compact(read); !slices.Equal(read, written) {
		t.Errorf("%s has %q, the programs read %q", settingsFile, written, read)
	}
}
