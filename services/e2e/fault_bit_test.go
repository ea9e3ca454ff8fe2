package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Invariant: a bit that flips in the store is found by the next publish, also one of equal content. It says which file is damaged and
// commits no version that names it, so that no instance fails, and one that starts with nothing is fresh.
func TestFaultBitFlipsInTheStore(t *testing.T) {
	for what, of := range map[string]func(dataset.VersionRecord) dataset.Object{
		"a snapshot": func(r dataset.VersionRecord) dataset.Object { return r.Snapshot },
		"a delta":    func(r dataset.VersionRecord) dataset.Object { return r.Deltas[len(r.Deltas)-1] },
	} {
		t.Run(what, func(t *testing.T) {
			folder := t.TempDir()
			tr := newTrial(t, "bit flips in "+what+" in the store", setting{store: "dir://" + folder})
			began := time.Now()
			tr.begin()
			rec := tr.stored()[0]
			poison(t, folder, of(rec).Digest)

			text := lines(tr.history[tr.newest()-1])
			code, _, body, err := do(t.Context(), http.MethodPost, tr.Publisher.URL+"/v1/datasets/"+tr.name+"/versions?key=key",
				"application/x-ndjson", []byte(text))
			var answer struct {
				Created  bool
				Warnings []string
			}
			if err == nil {
				err = json.Unmarshal(body, &answer)
			}
			if err != nil || code/100 != 2 {
				t.Fatalf("publish equal content: %d %s, %v", code, body, err)
			}
			if path := inStore(folder, of(rec).Digest); !strings.Contains(strings.Join(answer.Warnings, " "), path) {
				t.Errorf("the warnings %q do not name %s", answer.Warnings, path)
			}
			if answer.Created {
				tr.history = append(tr.history, tr.history[tr.newest()-1])
				tr.known()
			}
			tr.end()
			hit := tr.instances[0]
			hit.kill()
			if err := os.RemoveAll(hit.cache); err != nil {
				t.Fatal(err)
			}
			hit.floor = 0
			hit.start()
			tr.healed()
			tr.never(began, fleet.Failing, fleet.Diverged)
		})
	}
}
