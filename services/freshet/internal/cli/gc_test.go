package cli

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freshet.dev/pkg/keep"
	"freshet.dev/services/freshet/internal/exit"
)

// age makes the files below a folder older.
func age(t *testing.T, root string, by time.Duration) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		at := info.ModTime().Add(-by)
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Retention is set, a dry run says what it frees, gc frees it, and every other command says what is gone.
func TestGC(t *testing.T) {
	f, folder := served(t)
	for i := range 3 {
		f.run(t, "publish", "prices", file(t, "prices.ndjson", priceList(30+i)), "--key", "key").want(t, exit.OK)
	}
	f.run(t, "gc", "prices", "--dry-run").want(t, exit.OK, "stdout:keep_versions=10 keep_for=30d", "stdout:to free: 0 objects")
	f.run(t, "settings", "prices", "--unset", "keep_for", "--unset", "keep_versions", "--reason", "as in an old release").want(t, exit.OK)
	f.run(t, "gc", "--dry-run").want(t, exit.OK, "stdout:not set", "stdout:freshet settings prices --set keep_versions=10 --set keep_for=30d --reason")
	f.run(t, "settings", "prices", "--set", "keep_versions=0", "--reason", "x").want(t, exit.Refused, "stderr:want a whole number, 1 or more")
	f.run(t, "settings", "prices", "--set", "keep_for=1w", "--reason", "x").want(t, exit.Refused, `stderr:want a time such as "30d", "12h"`)
	f.run(t, "settings", "prices", "--set", "keep_versions=1", "--reason", "make room").want(t, exit.OK)
	age(t, folder, time.Minute)
	f.run(t, "gc", "--dry-run").want(t, exit.OK, "stdout:1 to 2", "!to free: 0 objects")
	f.run(t, "gc", "prices", "--grace", "2s", "--reason", "make room").want(t, exit.OK, "stdout:removed 0 objects", "!marked 0 objects")
	age(t, filepath.Join(folder, "gc"), time.Minute)
	f.run(t, "gc", "--grace", "2s", "--reason", "make room").want(t, exit.OK, "!removed 0 objects")
	got := f.run(t, "gc", "--output", "json")
	got.want(t, exit.OK)
	var report keep.Report
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || report.Datasets[0].Gone.String() != "1 to 2" || report.Unneeded.Objects != 0 {
		t.Errorf("%s, %v", got.out, err)
	}
	f.run(t, "events", "prices").want(t, exit.OK, "stdout:the bytes of versions 1 to 2 are gone", "stdout:make room")
	f.run(t, "versions", "prices").want(t, exit.OK, "stdout:gone")
	f.run(t, "versions", "prices", "--output", "json").want(t, exit.OK, `stdout:"gone": true`)
	f.run(t, "rollback", "prices", "--to", "1", "--reason", "x").want(t, exit.NotFound, "stderr:the bytes of the version are gone", "stderr:freshet versions prices")
	f.run(t, "export", "prices", "--version", "1").want(t, exit.NotFound, "stderr:the bytes of the version are gone")
	f.run(t, "pin", "prices", "--version", "1", "--all", "--reason", "x").want(t, exit.NotFound, "stderr:the bytes of the version are gone", "stderr:nothing was pinned")
	for range 2 {
		f.run(t, "publish", "prices", file(t, "prices.ndjson", priceList(40)), "--key", "key").want(t, exit.OK)
		f.run(t, "publish", "prices", file(t, "prices.ndjson", priceList(41)), "--key", "key").want(t, exit.OK)
	}
	f.run(t, "history", "prices", "40").want(t, exit.OK, "stdout:added", "stderr:versions below 4 were not read: their bytes are gone")
	f.run(t, "history", "prices", "7").want(t, exit.NotFound, "stderr:no version of dataset prices from 4 on changed the record", "!ever had")
	f.run(t, "get", "prices", "7", "--version", "4").want(t, exit.OK, "stdout:7")
	f.run(t, "verify").want(t, exit.OK)
	f.run(t, "gc", "pricse").want(t, exit.NotFound, "stderr:did you mean prices?")
	f.run(t, "gc", "--grace", "1s").want(t, exit.Usage, "stderr:--grace 1s: the least is 2s")
	f.run(t, "gc", "Prices").want(t, exit.Usage, "stderr:not a dataset name")
}

// The status says for which datasets retention is not set.
func TestStatusOfRetention(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.run(t, "status").want(t, exit.OK, "!retention is not set")
	f.run(t, "settings", "prices", "--unset", "keep_for", "--unset", "keep_versions", "--reason", "as in an old release").want(t, exit.OK)
	f.run(t, "status").want(t, exit.OK, "stdout:retention is not set: prices; all versions keep their bytes (see freshet gc --dry-run)")
	f.run(t, "status", "--output", "json").want(t, exit.OK, `stdout:"retention_unset": true`)
	f.run(t, "gc").want(t, exit.OK, "!nothing is removed now") // the instances answer
}
