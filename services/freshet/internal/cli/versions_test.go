package cli

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/publisher"
)

// TestVersionsWithADamagedRecord has a bit flip in a record of a real store: all versions are listed, the damaged one as damaged,
// and stderr names its file and the remedy, which works.
func TestVersionsWithADamagedRecord(t *testing.T) {
	folder := t.TempDir()
	s, err := storeurl.Open(t.Context(), "dir://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := publisher.New(publisher.Config{
		Listen: "127.0.0.1:0", StoreURL: settings.URL("dir://" + folder), NatsURL: "nats://127.0.0.1:4222", TempDir: t.TempDir(), MemoryBytes: 8 << 20,
		MaxDeltas: 32, MaxDeltaPercent: 50, CompactEvery: time.Hour, BeaconEvery: time.Minute, Publishes: 2, Patches: 2,
		BodyBytes: 1 << 20, TextBytes: 1 << 20, BodyStall: 10 * time.Second, BodyRate: 1, BodyTime: time.Minute,
	}, publisher.Deps{Store: s, Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	defer server.Close()
	f := freshet{env: map[string]string{"FRESHET_PUBLISHER_URL": server.URL}}
	for _, text := range []string{oldPrices, newPrices, oldPrices} {
		f.run(t, "publish", "prices", file(t, "prices.ndjson", text), "--key", "sku").want(t, exit.OK)
	}
	path := filepath.Join(folder, "versions", "prices", "00000000000000000002.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) {
		t.Helper()
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)/2] ^= 1
	put(flipped)

	stderr := []string{"stderr:damaged in the store", "stderr:version 2", "stderr:" + path, "stderr:put back a good copy of it"}
	table := f.run(t, "versions", "prices")
	table.want(t, exit.Failure, stderr...)
	lines := strings.Split(strings.TrimSpace(table.out), "\n")
	if len(lines) != 4 || strings.Fields(lines[1])[0] != "3" || strings.Join(strings.Fields(lines[2]), " ") != "2 damaged" || strings.Fields(lines[3])[0] != "1" {
		t.Errorf("versions prints\n%s", table.out)
	}
	list := f.run(t, "versions", "prices", "--output", "json")
	list.want(t, exit.Failure, stderr...)
	var got []struct {
		Version uint64
		Damaged string
	}
	if err := json.Unmarshal([]byte(list.out), &got); err != nil || len(got) != 3 {
		t.Fatalf("%v in %s", err, list.out)
	}
	for i, v := range got {
		if v.Version != uint64(3-i) || (v.Damaged != "") != (v.Version == 2) || v.Version == 2 && !strings.Contains(v.Damaged, path) {
			t.Errorf("versions prints %s", list.out)
		}
	}
	put(good)
	f.run(t, "versions", "prices").want(t, exit.OK, "!damaged")
}
