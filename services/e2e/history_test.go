package e2e

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"freshet.dev/pkg/dataset"
)

// mistyped is the name under which the story's operator publishes cities once.
const mistyped = "citise"

// story is a dataset from its first version on, with all that its operator does.
type story struct {
	*operator
	all      []edition           // four editions of the dataset
	contents []map[string]string // of the editions
	canary   *program            // the instance with the label tier=canary
	first    string              // a key of all editions
}

// A bad publish is refused, another one is undone, instances are pinned, histories are replayed, a mistyped dataset is deleted, what happened
// can be read, damage is found and put right, and objects that no version needs are removed. After each step every instance is compared over all keys.
func TestOperatorUndoesAndRepairs(t *testing.T) {
	s := newStory(t)
	s.publishes()
	s.rollsBack()
	s.reads()
	s.deletesTheMistyped()
	s.pinsTheCanary()
	s.replaysToTheCanary()
	s.replaysToASubject()
	s.repairs()
	s.collects()
	s.dropsTheMistyped()
	s.isTold()
}

func newStory(t *testing.T) *story {
	all := shipped(t)[:4]
	if !testing.Short() {
		all = cities(t)
	}
	s := &story{operator: &operator{t: t, name: "cities", store: t.TempDir(), pinned: map[*program]held{}}, all: all}
	s.s = newSystem(t, "dir://"+s.store, 1, s.name, mistyped)
	s.canary = start(t, "server", "NATS_URL="+s.s.NATS.URL, "REDIS_URL="+s.s.Redis.URL, "RELAYS="+s.s.Relay.URL, "DATASETS="+s.name,
		"CACHE_DIR="+t.TempDir(), "INSTANCE=canary-1", "LABELS=tier=canary", "REMOTE_GET=true")
	s.s.Instances = append(s.s.Instances, s.canary)
	for _, e := range all {
		s.contents = append(s.contents, e.records(t))
	}
	s.first = slices.Min(slices.Collect(maps.Keys(s.contents[2])))
	return s
}

// input returns the arguments that publish an edition, 0 to 3.
func (s *story) input(name string, n int, more ...string) []string {
	s.t.Helper()
	return append([]string{"publish", name, s.file(s.all[n].name+".ndjson.gz", s.all[n].gzip), "--key", "key"}, more...)
}

// publishes publishes three editions, and then one record of the third.
func (s *story) publishes() {
	s.t.Helper()
	for i, e := range s.all[:3] {
		s.freshet(0, s.input(s.name, i, "--wait", "--by", "etl@db1", "--reason", "edition "+e.name)...)
		s.serve(uint64(i+1), s.contents[i])
	}
	// head -1 | freshet publish
	head := s.file("head.ndjson", []byte(s.contents[2][s.first]+"\n"))
	s.shows(3, []string{"max_fewer_records_percent", "nothing was published", "--allow-shrink"}, "publish", s.name, head, "--key", "key")
	s.same()
}

// rollsBack goes back to version 1, and forth to the content of version 3.
func (s *story) rollsBack() {
	s.t.Helper()
	s.shows(0, []string{"dry run: nothing was published"}, "rollback", s.name, "--to", "1", "--reason", "wrong names", "--dry-run")
	s.same()
	s.freshet(0, "rollback", s.name, "--to", "1", "--reason", "wrong names", "--by", "ann@ops", "--wait")
	s.serve(4, s.contents[0])
	s.freshet(0, "rollback", s.name, "--to", "3", "--reason", "they were right", "--wait")
	s.serve(5, s.contents[2])
	records := s.versions(5)
	if newest, third := records[0], records[2]; newest.State != third.State || newest.Restores != third.Ref() || records[1].By != "ann@ops" {
		s.t.Errorf("version 5 is %+v, of %+v", newest, third)
	}
}

// versions returns all versions, newest first, of which there must be n.
func (s *story) versions(n int) (records []dataset.VersionRecord) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.freshet(0, "versions", s.name, "--output", "json")), &records); err != nil || len(records) != n {
		s.t.Fatalf("%d versions, want %d: %v", len(records), n, err)
	}
	return records
}

// reads sets a gate of the dataset's own, and reads what differs, what a version had, and what the instances answer.
func (s *story) reads() {
	s.t.Helper()
	s.freshet(0, "settings", s.name, "--set", "max_changed_records_percent=0", "--reason", "the names are frozen")
	s.shows(3, []string{"max_changed_records_percent"}, s.input(s.name, 0)...)
	s.same()
	s.freshet(0, "settings", s.name, "--unset", "max_changed_records_percent", "--reason", "the names may change")

	want := changes(s.contents[0], s.contents[2])
	var stat struct{ Added, Changed, Removed uint64 }
	if err := json.Unmarshal([]byte(s.freshet(0, "diff", s.name, "1", "3", "--stat", "--output", "json")), &stat); err != nil || counts(stat) != want {
		s.t.Errorf("versions 1 and 3 differ by %+v (%v), want %+v", stat, err, want)
	}
	s.exports("2", s.contents[1])
	s.shows(0, []string{"canary-1", s.contents[2][s.first][:20]}, "get", s.name, s.first, "--label", "tier=canary")
	s.shows(3, []string{"FRESHET_REMOTE_GET"}, "get", s.name, s.first, "--instance", "instance-1")
}

// exports checks that the export of a version is its input.
func (s *story) exports(version string, content map[string]string) {
	s.t.Helper()
	exported := strings.Split(strings.TrimSuffix(s.freshet(0, "export", s.name, "--version", version, "--key", "key"), "\n"), "\n")
	lines := slices.Sorted(maps.Values(content))
	if slices.Sort(exported); !slices.Equal(exported, lines) {
		s.t.Errorf("the export of version %s has %d lines, want the %d of its input", version, len(exported), len(lines))
	}
}

// repairs puts things right when Redis loses everything and the disk of the store flips a bit. Then two further versions are published.
func (s *story) repairs() {
	s.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.s.Redis.Addr})
	defer rdb.Close()
	if err := rdb.FlushAll(s.t.Context()).Err(); err != nil {
		s.t.Fatal(err)
	}
	s.freshet(0, "verify", "--repair")
	s.freshet(0, "verify")
	s.same()
	snapshot := s.object(s.versions(6)[0].Snapshot.Digest)
	flip(s.t, snapshot)
	s.shows(10, []string{snapshot, "publish all records of cities again"}, "verify", "--repair")
	s.same()
	s.freshet(0, s.input(s.name, 3, "--wait")...)
	s.serve(7, s.contents[3])
	s.shows(10, []string{snapshot, "versions 1 to 6 cannot be loaded; the newest version, 7, loads"}, "verify", s.name)
	flip(s.t, snapshot) // back from the backup
	s.shows(0, []string{"nothing is wrong"}, "verify", s.name)
	s.same()
	s.freshet(0, s.input(s.name, 2, "--wait", "--by", "etl@db1", "--reason", "the names of last month")...)
	s.serve(8, s.contents[2])
}
