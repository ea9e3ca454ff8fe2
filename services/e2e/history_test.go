package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"freshet.dev/pkg/dataset"
)

// operator runs the command line against a system whose store is a folder.
type operator struct {
	t     *testing.T
	s     *system
	name  string // of the dataset
	store string
	// content and version are what every instance must serve, before is the content before.
	content, before map[string]string
	version         uint64
}

// freshet runs the command, which must end with the exit code, and returns what it prints to stdout, and to
// stderr if it fails.
func (o *operator) freshet(want int, args ...string) string {
	o.t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(o.t.Context(), filepath.Join(bin, "freshet"), args...)
	cmd.Env = append(cmd.Environ(), "FRESHET_PUBLISHER_URL="+o.s.Publisher.URL, "FRESHET_NATS_URL="+o.s.NATS.URL, "FRESHET_SERVER_URL="+o.s.Instances[0].URL, "FRESHET_NAMESPACE=")
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if code := exitCode(err); code != want {
		o.t.Fatalf("freshet %q ended with %d, want %d (%v):\n%s%s", args, code, want, err, out.String(), errs.String())
	}
	if want != 0 {
		return out.String() + errs.String()
	}
	return out.String()
}

// shows runs the command and checks that it prints the texts.
func (o *operator) shows(code int, texts []string, args ...string) {
	o.t.Helper()
	printed := o.freshet(code, args...)
	for _, text := range texts {
		if !strings.Contains(printed, text) {
			o.t.Errorf("freshet %q does not print %q:\n%s", args, text, printed)
		}
	}
}

// serve checks all keys of every instance: version has content from now on.
func (o *operator) serve(version uint64, content map[string]string) {
	o.t.Helper()
	if version != o.version {
		o.before, o.content, o.version = o.content, content, version
	}
	for _, instance := range o.s.Instances {
		awaitVersion(o.t, instance, o.name, version)
		checkAll(o.t, instance, o.name, version, content, o.before)
	}
}

// same checks that a refused command has changed nothing.
func (o *operator) same() { o.t.Helper(); o.serve(o.version, o.content) }

// file writes the lines into a file.
func (o *operator) file(name string, lines []byte) string {
	o.t.Helper()
	path := filepath.Join(o.t.TempDir(), name)
	if err := os.WriteFile(path, lines, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// A bad publish is refused, another one is undone, what happened can be read, and damage is found and put right. After each step every
// instance is compared over all keys.
func TestOperatorUndoesAndRepairs(t *testing.T) {
	all := shipped(t)
	if !testing.Short() {
		all = cities(t)
	}
	o := &operator{t: t, name: "cities", store: t.TempDir()}
	o.s = newSystem(t, "dir://"+o.store, 1, o.name)
	o.s.Instances = append(o.s.Instances, start(t, "server", "NATS_URL="+o.s.NATS.URL, "REDIS_URL="+o.s.Redis.URL, "RELAYS="+o.s.Relay.URL, "DATASETS="+o.name,
		"CACHE_DIR="+t.TempDir(), "INSTANCE=canary-1", "LABELS=tier=canary", "REMOTE_GET=true"))
	var editions []map[string]string
	for i, e := range all[:3] {
		editions = append(editions, e.records(t))
		o.freshet(0, "publish", o.name, o.file(e.name+".ndjson.gz", e.gzip), "--key", "key", "--wait", "--by", "etl@db1", "--reason", "edition "+e.name)
		o.serve(uint64(i+1), editions[i])
	}

	// head -1 | freshet publish
	first := slices.Min(slices.Collect(maps.Keys(editions[2])))
	head := o.file("head.ndjson", []byte(editions[2][first]+"\n"))
	o.shows(3, []string{"max_fewer_records_percent", "nothing was published", "--allow-shrink"}, "publish", o.name, head, "--key", "key")
	o.same()

	// Back to version 1, and forth to the content of version 3.
	o.shows(0, []string{"dry run: nothing was published"}, "rollback", o.name, "--to", "1", "--reason", "wrong names", "--dry-run")
	o.same()
	o.freshet(0, "rollback", o.name, "--to", "1", "--reason", "wrong names", "--by", "ann@ops", "--wait")
	o.serve(4, editions[0])
	o.freshet(0, "rollback", o.name, "--to", "3", "--reason", "they were right", "--wait")
	o.serve(5, editions[2])
	var records []dataset.VersionRecord
	if err := json.Unmarshal([]byte(o.freshet(0, "versions", o.name, "--output", "json")), &records); err != nil || len(records) != 5 {
		t.Fatalf("%d versions: %v", len(records), err)
	}
	if newest, third := records[0], records[2]; newest.State != third.State || newest.Restores != third.Ref() || records[1].By != "ann@ops" {
		t.Errorf("version 5 is %+v, of %+v", newest, third)
	}

	// A gate of the dataset's own.
	o.freshet(0, "settings", o.name, "--set", "max_changed_records_percent=0", "--reason", "the names are frozen")
	o.shows(3, []string{"max_changed_records_percent"}, "publish", o.name, o.file("1.ndjson.gz", all[0].gzip), "--key", "key")
	o.same()

	// What differs, what a version had, and what the instances answer.
	want := changes(editions[0], editions[2])
	var stat struct{ Added, Changed, Removed uint64 }
	if err := json.Unmarshal([]byte(o.freshet(0, "diff", o.name, "1", "3", "--stat", "--output", "json")), &stat); err != nil || counts(stat) != want {
		t.Errorf("versions 1 and 3 differ by %+v (%v), want %+v", stat, err, want)
	}
	exported := strings.Split(strings.TrimSuffix(o.freshet(0, "export", o.name, "--version", "2", "--key", "key"), "\n"), "\n")
	lines := slices.Sorted(maps.Values(editions[1]))
	if slices.Sort(exported); !slices.Equal(exported, lines) {
		t.Errorf("the export of version 2 has %d lines, want the %d of its input", len(exported), len(lines))
	}
	o.shows(0, []string{"canary-1", editions[2][first][:20]}, "get", o.name, first, "--label", "tier=canary")
	o.shows(3, []string{"FRESHET_REMOTE_GET"}, "get", o.name, first, "--instance", "instance-1")

	// Redis loses everything, and the disk of the store flips a bit.
	rdb := redis.NewClient(&redis.Options{Addr: o.s.Redis.Addr})
	defer rdb.Close()
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	o.freshet(0, "verify", "--repair")
	o.freshet(0, "verify")
	snapshot := o.object(records[0].Snapshot.Digest)
	flip(t, snapshot)
	o.shows(10, []string{snapshot, "publish all records of cities again"}, "verify", "--repair")
	o.same()
	o.freshet(0, "publish", o.name, o.file("3.ndjson.gz", all[2].gzip), "--key", "key", "--wait")
	o.serve(6, editions[2])
	o.shows(10, []string{snapshot, "versions 1 to 5 cannot be loaded; the newest version, 6, loads"}, "verify", o.name)
	flip(t, snapshot) // back from the backup
	o.shows(0, []string{"nothing is wrong"}, "verify", o.name)
	o.same()

	story := o.freshet(0, "events", o.name)
	for _, text := range []string{"edition " + all[0].name, "edition " + all[2].name, "wrong names", "ann@ops", "they were right", "the names are frozen"} {
		before, after, ok := strings.Cut(story, text)
		if !ok {
			t.Fatalf("events does not show %q after\n%s", text, before)
		}
		if text != "wrong names" && text != "ann@ops" { // both are in one line
			story = after
		}
	}
}

// object returns the path of an object in the store's folder.
func (o *operator) object(digest dataset.Digest) (path string) {
	o.t.Helper()
	err := filepath.WalkDir(o.store, func(at string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.Contains(e.Name(), digest.String()) {
			path = at
		}
		return err
	})
	if err != nil || path == "" {
		o.t.Fatalf("the store has no object %s: %v", strconv.Quote(digest.String()), err)
	}
	return path
}

// flip inverts a bit in the middle of the file.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
