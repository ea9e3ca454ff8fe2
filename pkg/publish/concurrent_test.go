package publish_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"github.com/google/go-cmp/cmp"
)

// versionOf returns the n-th version of a publisher: different from all others, and equal to them in part.
func versionOf(who, n int) map[string]string {
	records := map[string]string{}
	for i := range 50 {
		id := strconv.Itoa(i)
		records[id] = fmt.Sprintf(`{"id":%d}`, i)
		if i%10 == n%10 {
			records[id] = fmt.Sprintf(`{"id":%d,"who":%d,"n":%d}`, i, who, n)
		}
	}
	own := fmt.Sprintf("%d-%d", who, n)
	records[own] = fmt.Sprintf(`{"id":"%s"}`, own)
	return records
}

// publishAll publishes versions versions of publisher who, one after the other, and returns their records. A conflict
// is a clear answer, and no version.
func publishAll(ctx context.Context, p *publish.Publisher, who, versions int) ([]dataset.VersionRecord, error) {
	var all []dataset.VersionRecord
	for n := range versions {
		var text strings.Builder
		for _, record := range versionOf(who, n) {
			text.WriteString(record + "\n")
		}
		result, err := p.Publish(ctx, "prices", publish.Input{
			Body: strings.NewReader(text.String()), Key: "id",
			Labels: map[string]string{"who": strconv.Itoa(who), "n": strconv.Itoa(n)},
		})
		switch {
		case errors.Is(err, publish.ErrConflict):
			continue
		case err != nil:
			return nil, err
		case !result.Created || len(result.Warnings) > 0:
			return nil, fmt.Errorf("publisher %d, version %d: %+v", who, n, result)
		}
		all = append(all, result.Record)
	}
	return all, nil
}

// checkHistory compares the results of the publishers with the store: the store has every version from 1 on, exactly one publisher got
// each version, and it has the content of that publisher and counts its changes from the version before.
func checkHistory(t *testing.T, st store.Store, told []dataset.VersionRecord) {
	t.Helper()
	byVersion := map[uint64]dataset.VersionRecord{}
	for _, rec := range told {
		if _, twice := byVersion[rec.Version]; twice {
			t.Errorf("version %d was told to two publishers", rec.Version)
		}
		byVersion[rec.Version] = rec
	}
	stored, err := st.Versions(t.Context(), "prices", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(stored) != len(told) {
		t.Errorf("the store has %d versions, the publishers were told of %d", len(stored), len(told))
	}
	before := map[string]string{}
	for v := uint64(1); v <= uint64(len(stored)); v++ {
		rec := stored[uint64(len(stored))-v]
		if diff := cmp.Diff(byVersion[v], rec); diff != "" {
			t.Errorf("version %d: %s", v, diff)
		}
		if rec.Version != v || rec.Seed != stored[0].Seed {
			t.Fatalf("version %d is %+v", v, rec)
		}
		records := content(t, st, rec)
		who, _ := strconv.Atoi(rec.Labels["who"])
		n, _ := strconv.Atoi(rec.Labels["n"])
		if diff := cmp.Diff(versionOf(who, n), records); diff != "" {
			t.Fatalf("version %d of publisher %d, %d: %s", v, who, n, diff)
		}
		var want dataset.Changes
		for k, value := range records {
			if old, ok := before[k]; !ok {
				want.Added++
			} else if old != value {
				want.Changed++
			}
		}
		for k := range before {
			if _, ok := records[k]; !ok {
				want.Removed++
			}
		}
		if rec.Changes != want {
			t.Errorf("version %d counts %+v, want %+v", v, rec.Changes, want)
		}
		before = maps.Clone(records)
	}
}

func TestConcurrentPublishers(t *testing.T) {
	const publishers, versions = 8, 6
	r := newRig(t, nil)
	var mu sync.Mutex
	var told []dataset.VersionRecord
	var all sync.WaitGroup
	for who := range publishers {
		all.Go(func() {
			recs, err := publishAll(t.Context(), r.Publisher, who, versions)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, recs...)
		})
	}
	all.Wait()
	if len(told) < versions {
		t.Errorf("only %d versions of %d came through", len(told), publishers*versions)
	}
	checkHistory(t, r.store, told)
	noTemp(t, r.temp)
}

func init() { children["publisher"] = publisherChild }

// publisherChild is a publisher in a separate process. It begins after a line of input, and prints its results.
func publisherChild() error {
	ctx := context.Background()
	st, err := storeurl.Open(ctx, os.Getenv("STORE"))
	if err != nil {
		return err
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{TempDir: os.Getenv("TEMP_DIR")}, publish.Deps{Store: st})
	if err != nil {
		return err
	}
	who, err := strconv.Atoi(os.Getenv("WHO"))
	if err != nil {
		return err
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	recs, err := publishAll(ctx, p, who, 6)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(recs)
}

func TestPublishersInSeparateProcesses(t *testing.T) {
	r := newRig(t, nil)
	var mu sync.Mutex
	var told []dataset.VersionRecord
	var all sync.WaitGroup
	start := make(chan struct{})
	for who := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "CHILD=publisher", "STORE="+r.url, "TEMP_DIR="+r.temp, fmt.Sprint("WHO=", who))
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			<-start
			_, _ = fmt.Fprintln(stdin)
		})
		all.Go(func() {
			out, err := cmd.Output()
			if err != nil {
				t.Error(err)
				return
			}
			var recs []dataset.VersionRecord
			if err := json.Unmarshal(out, &recs); err != nil {
				t.Errorf("%v in %s", err, out)
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, recs...)
		})
	}
	close(start)
	all.Wait()
	if len(told) < 6 {
		t.Errorf("only %d versions came through", len(told))
	}
	checkHistory(t, r.store, told)
	noTemp(t, r.temp)
}

// A publish of all records is not overtaken by patches for ever: after two times those of its own process wait for it.
func TestPatchesLetAPublishThrough(t *testing.T) {
	r, f := newFaulty(t)
	m := numbered(300)
	m.publish(t, r)
	other := must(publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store}))
	attempts := 0
	patched := make(chan publish.PatchResult, 1)
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		switch attempts++; attempts {
		case 1, 2:
			if _, err := other.Patch(ctx, "prices", patch(fmt.Sprintf(`{"id":"theirs","n":%d}`, attempts))); err != nil {
				t.Error(err)
			}
		case 3:
			waiting := make(chan struct{})
			in := patch(`{"id":"ours"}`)
			in.Progress = func(p publish.Progress) {
				if p.Phase == publish.PhaseStoring {
					close(waiting)
				}
			}
			go func() {
				got, err := r.Patch(t.Context(), "prices", in)
				if err != nil {
					t.Error(err)
				}
				patched <- got
			}()
			<-waiting
		}
		return f.Store.PutVersion(ctx, rec)
	}
	m.set(1, -1)
	result, err := r.Publish(t.Context(), "prices", m.input())
	if err != nil || result.Record.Version != 4 || result.Record.Changes != (dataset.Changes{Changed: 1, Removed: 1}) {
		t.Errorf("%+v: %v", result, err)
	}
	if got := <-patched; got.Record.Version != 5 || got.Changes != (dataset.Changes{Added: 1}) || attempts != 4 {
		t.Errorf("after %d attempts: %+v", attempts, got)
	}
}
