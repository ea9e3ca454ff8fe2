package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	retention "freshet.dev/pkg/keep"
)

// deletesTheMistyped publishes cities as citise, which an instance has, and deletes that again.
func (s *story) deletesTheMistyped() {
	s.t.Helper()
	instance := s.s.Instances[0]
	s.shows(0, []string{"instance-1 serves version 1"}, s.input(mistyped, 0, "--wait", "--by", "etl@db1")...)
	checkAll(s.t, instance, mistyped, 1, s.contents[0], nil)
	s.shows(2, []string{"--yes"}, "delete", mistyped, "--reason", "mistyped, see cities")
	s.shows(0, []string{"citise version 2: deleted; instances go on answering"}, "delete", mistyped, "--reason", "mistyped, see cities", "--by", "ann@ops", "--yes", "--wait")
	s.shows(0, []string{"was deleted before", "no version was created"}, "delete", mistyped, "--reason", "again", "--yes")
	s.shows(0, []string{"deleted", "mistyped, see cities"}, "status", mistyped)
	checkAll(s.t, instance, mistyped, 1, s.contents[0], nil)
	if !s.lists(mistyped) {
		s.t.Error("a deleted dataset is left out of the list while a rollback brings it back")
	}
	s.same()
}

// lists reports whether the publisher's list of datasets has the name.
func (s *story) lists(name string) bool {
	s.t.Helper()
	status, _, body, err := do(s.t.Context(), "GET", s.s.Publisher.URL+"/v1/datasets", "", nil)
	if err != nil || status != 200 {
		s.t.Fatalf("list the datasets: %d %s %v", status, body, err)
	}
	return strings.Contains(string(body), fmt.Sprintf("%q", name))
}

// collects removes the versions that a short retention does not keep.
func (s *story) collects() {
	s.t.Helper()
	s.freshet(0, "settings", s.name, "--set", "keep_versions=2", "--set", "keep_for=1s", "--reason", "the disk is small", "--by", "ann@ops")
	s.freshet(0, "settings", mistyped, "--set", "keep_versions=1", "--set", "keep_for=1s", "--reason", "it is no dataset")
	s.frees(s.name, "1 to 6")
	s.same()
	s.shows(0, []string{"gone"}, "versions", s.name)
	s.shows(5, []string{"version 3", "retention"}, "get", s.name, s.first, "--version", "3")
	s.shows(5, []string{"version 3", "retention"}, "rollback", s.name, "--to", "3", "--reason", "it is too late")
	s.exports("7", s.contents[3])
	s.exports("8", s.contents[2])
	s.shows(0, []string{"nothing is wrong"}, "verify")
	s.s.Instances = append(s.s.Instances, s.s.newInstance(s.t, 3, s.name))
	s.same()
	s.freshet(0, "rollback", s.name, "--to", "7", "--reason", "it is kept", "--by", "ann@ops", "--wait")
	s.serve(9, s.contents[3])
}

// dropsTheMistyped has the instance drop the table of the mistyped dataset, which it goes on answering from. Then nothing keeps the dataset.
func (s *story) dropsTheMistyped() {
	s.t.Helper()
	instance := s.s.Instances[0]
	checkAll(s.t, instance, mistyped, 1, s.contents[0], nil)
	if !s.lists(mistyped) {
		s.t.Error("a deleted dataset is left out of the list while an instance answers from its table")
	}
	s.shows(0, []string{"citise version 3: deleted; instances drop their tables"}, "delete", mistyped, "--drop", "--reason", "nobody asks for it", "--by", "ann@ops", "--yes", "--wait")
	if _, _, err := get(s.t.Context(), instance, mistyped, s.first); err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "nobody asks for it") {
		s.t.Errorf("a lookup in a dataset that was dropped: %v", err)
	}
	s.frees(mistyped, "1") // version 2 has no objects
	if s.lists(mistyped) {
		s.t.Error("the list has the mistyped dataset, of which nothing is left")
	}
	s.shows(0, []string{"nothing is wrong"}, "verify")
	s.same()
}

// frees runs gc until these versions of the dataset are gone, and all that is not needed.
func (s *story) frees(name, versions string) {
	s.t.Helper()
	eventually(s.t, func(ctx context.Context) error {
		var report retention.Report
		if err := json.Unmarshal([]byte(s.freshet(0, "gc", "--grace", "2s", "--reason", "make room", "--by", "cron@ops", "--output", "json")), &report); err != nil {
			return err
		}
		for _, d := range report.Datasets {
			if d.Dataset == name && d.Gone.String() == versions && report.Unneeded.Objects == 0 {
				return nil
			}
		}
		return fmt.Errorf("want the versions %s of %s gone: %+v", versions, name, report)
	})
}

// isTold checks that the events tell the story in its order.
func (s *story) isTold() {
	s.t.Helper()
	s.tells(s.name, [][]string{
		{"etl@db1", "edition " + s.all[0].name},
		{"etl@db1", "edition " + s.all[2].name},
		{"ann@ops", "the content of version 1", "wrong names"},
		{"the content of version 3", "they were right"},
		{"settings", "max_changed_records_percent=0", "the names are frozen"},
		{"settings", "max_changed_records_percent unset", "the names may change"},
		{"pin", "ann@ops", "tier=canary", "to version 5", "compare first"},
		{"etl@db1", "edition four"},
		{"ann@ops", "no longer", "tier=canary", "they are the same"},
		{"replay", "bob@ops", "canary-1", "full", "a stale view"},
		{"replay", "bob@ops", "versions 1 to 6 to subject search.cities.history", "a new search index"},
		{"version", " 7 "},
		{"etl@db1", "the names of last month"},
		{"settings", "ann@ops", "keep_versions=2", "the disk is small"},
		{"cron@ops", "the bytes of versions 1 to 6 are gone", "make room"},
		{"ann@ops", "the content of version 7", "it is kept"},
	})
	s.tells(mistyped, [][]string{
		{"etl@db1"},
		{"ann@ops", "the dataset is deleted", "mistyped, see cities"},
		{"settings", "keep_versions=1", "it is no dataset"},
		{"ann@ops", "instances drop it", "nobody asks for it"},
		{"cron@ops", "the bytes of version", "gone", "make room"},
	})
}

// tells checks that the dataset's events have a line with all of the texts for each of the parts, in that order.
func (s *story) tells(name string, parts [][]string) {
	s.t.Helper()
	text := s.freshet(0, "events", name)
	lines := strings.Split(text, "\n")
	for _, part := range parts {
		for len(lines) > 0 && !hasAll(lines[0], part) {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			s.t.Fatalf("the events of %s do not tell %q in its place:\n%s", name, part, text)
		}
		lines = lines[1:]
	}
}

func hasAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}
