package main

import (
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
)

// maxREADMELines keeps the README to what a newcomer reads; the documents have the rest.
const maxREADMELines = 220

func TestREADMEIsShort(t *testing.T) {
	if n := strings.Count(document(t, readmeFile), "\n"); n > maxREADMELines {
		t.Errorf("README.md has %d lines, the most is %d: move what a newcomer does not need to %s", n, maxREADMELines, docs)
	}
}

// TestCommandsOfTheREADME runs the commands that the README shows outside of the blocks that TestShellCodeOfDocumentsRuns runs.
// Other tests run `freshet up` and the checks of scripts/test.
func TestCommandsOfTheREADME(t *testing.T) {
	bin := t.TempDir()
	instead := map[string]string{
		"go run ./services/freshet demo": "go run ./services/freshet demo --exit --dir " + t.TempDir(),
		"scripts/test":                   "scripts/test --help",
		"go install ./services/freshet":  "GOBIN=" + bin + " go install ./services/freshet && " + bin + "/freshet --version",
		"freshet up prices":              bin + "/freshet up --help",
	}
	_, code := blocks(t, readmeFile, "command")
	for line := range strings.Lines(strings.Join(code, "")) {
		command, _, _ := strings.Cut(strings.TrimSpace(line), " #")
		run, ok := instead[strings.TrimSpace(command)]
		if !ok {
			t.Errorf("the test does not know how to run %q", command)
			continue
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", run)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", run, err, out)
		}
	}
	marked := 0
	for _, kind := range []string{"command", "runs", "module"} {
		_, code := blocks(t, readmeFile, kind)
		marked += len(code)
	}
	if all := strings.Count(document(t, readmeFile), "```sh\n"); all != marked {
		t.Errorf("README.md has %d blocks of shell code, of which tests run %d", all, marked)
	}
}

// near reports whether two numbers of a text are within a tenth of each other. Sizes of files follow from a random seed.
func near(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err1 == nil && err2 == nil && math.Abs(x-y) <= max(x, y)/10
}

// checkDemoOutput compares the output of the demo with the lines of it that the README shows: counts exactly, sizes nearly, and times
// not at all.
func checkDemoOutput(t *testing.T, output string) {
	t.Helper()
	_, shown, _ := strings.Cut(document(t, readmeFile), "and prints:\n\n```\n")
	shown, _, _ = strings.Cut(shown, "```")
	printed := map[string][]string{} // the words of a line, by its first two
	for line := range strings.Lines(output) {
		if words := strings.Fields(line); len(words) > 2 {
			printed[words[0]+" "+words[1]] = words
		}
	}
	lines := 0
	for line := range strings.Lines(shown) {
		words := strings.Fields(line)
		if len(words) < 3 {
			continue // of the line with dots
		}
		lines++
		got := printed[words[0]+" "+words[1]]
		if len(got) != len(words) {
			t.Errorf("README.md shows %q, the demo prints %q", words, got)
			continue
		}
		table := len(words) - 3 // the last columns of the table are times
		if words[0] == "Since" {
			table = len(words)
		}
		for i := range table {
			if words[i] != got[i] && (i < 6 && words[0] != "Since" || !near(words[i], got[i])) {
				t.Errorf("README.md shows %q, the demo prints %q", words, got)
				break
			}
		}
	}
	if lines < 5 {
		t.Errorf("README.md shows only %d lines of the demo", lines)
	}
}

// TestNumbersOfTheREADME compares the limits and defaults in the README with the code.
func TestNumbersOfTheREADME(t *testing.T) {
	var p publisher.Config
	if _, err := settings.Load(&p); err != nil {
		t.Fatal(err)
	}
	wantText(t, readmeFile, "| key of a record | "+size(dataset.MaxKeyBytes)+" |")
	wantText(t, readmeFile, "| value of a record | "+size(dataset.MaxValueBytes)+" |")
	if p.BeaconEvery != 5*time.Second {
		t.Errorf("README.md says that a beacon is sent every five seconds, the default is %v", p.BeaconEvery)
	}
	var states []string
	for _, s := range fleet.States {
		states = append(states, "`"+string(s)+"`")
	}
	last := len(states) - 1
	wantText(t, readmeFile, "The states are "+strings.Join(states[:last], ", ")+" and "+states[last])
	_, table, _ := strings.Cut(document(t, operationsFile), "| state | meaning |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var explained []string
	for _, m := range regexp.MustCompile("(?m)^\\| (`[a-z]+`) \\|").FindAllStringSubmatch(table, -1) {
		explained = append(explained, m[1])
	}
	if !slices.Equal(explained, states) {
		t.Errorf("%s explains the states %q, want %q", operationsFile, explained, states)
	}
}

// TestCostsOfTheREADME finds every number of the README's table of costs in the results of the benchmarks. The README rounds KB to MB.
func TestCostsOfTheREADME(t *testing.T) {
	_, table, _ := strings.Cut(document(t, readmeFile), "| 10 M records | freshet | the alternative |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	number := regexp.MustCompile(`[0-9]([0-9,.]*[0-9])?`)
	measured := map[string]bool{}
	for _, n := range number.FindAllString(document(t, docs+"benchmarks.md"), -1) {
		measured[n] = true
		if kb, err := strconv.ParseFloat(strings.ReplaceAll(n, ",", ""), 64); err == nil {
			measured[fmt.Sprintf("%.0f", kb/1000)], measured[fmt.Sprintf("%.1f", kb/1000)] = true, true
		}
	}
	found := 0
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			t.Fatalf("%q is no row", row)
		}
		for _, cell := range cells[2:4] {
			value, _, _ := strings.Cut(strings.TrimSpace(cell), ", ") // the name of the alternative follows
			found++
			if !measured[value] {
				t.Errorf("README.md has %s in %q, which benchmarks.md does not have", value, strings.TrimSpace(row))
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d numbers are in the table of costs", found)
	}
}
