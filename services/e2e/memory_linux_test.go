package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/publish"
)

// priced returns records for a table of some 60 MB, or every step-th of them, with values that follow from the seed.
func priced(seed byte, step int) publish.Input {
	random := rand.NewChaCha8([32]byte{seed})
	var body bytes.Buffer
	value := make([]byte, 40)
	for i := 0; i < 400_000; i += step {
		random.Read(value)
		fmt.Fprintf(&body, `{"key":"product-%08d","value":"%s"}`+"\n", i, hex.EncodeToString(value))
	}
	return publish.Input{Body: &body, Key: "key"}
}

const (
	prSetTHPDisable   = 41     // PR_SET_THP_DISABLE
	thpExceptAdvised  = 1 << 1 // PR_THP_DISABLE_EXCEPT_ADVISED, since Linux 6.18
	transparentPolicy = "/sys/kernel/mm/transparent_hugepage/enabled"
)

// withoutForcedHugePages disables huge pages for the programs that the test starts, on a kernel that backs all memory with them. A huge
// page with one used byte would count as 2 MiB of resident memory. Programs inherit the setting.
func withoutForcedHugePages(t *testing.T) {
	t.Helper()
	policy, err := os.ReadFile(transparentPolicy)
	if err != nil || !strings.Contains(string(policy), "[always]") {
		return // a kernel without huge pages, or one that gives them to a program that asks
	}
	set := func(disable, flags uintptr) error {
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetTHPDisable, disable, flags, 0, 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
	how := "except where a program asks for them"
	if err = set(1, thpExceptAdvised); errors.Is(err, syscall.EINVAL) {
		how, err = "all of them", set(1, 0)
	}
	if err != nil {
		t.Fatalf("disable huge pages: %v", err)
	}
	t.Logf("%s is always: the test disables huge pages, %s", transparentPolicy, how)
	t.Cleanup(func() {
		if err := set(0, 0); err != nil {
			t.Errorf("enable huge pages: %v", err)
		}
	})
}

// memorySettles waits until the instance serves the version and has at most 1.25 times its table resident, in addition to the
// resident memory of an instance with a small dataset, which is base.
func memorySettles(t *testing.T, when string, instance *program, version uint64, base int64) {
	t.Helper()
	eventuallyIn(t, 3*time.Minute, func(ctx context.Context) error { // after deltas, memory is given back once a minute
		all, err := datasets(ctx, instance)
		if err != nil || all["prices"].Version != version {
			return fmt.Errorf("%+v, want version %d: %w", all, version, err)
		}
		table, got := all["prices"].Bytes, resident(t, instance.PID())-base
		if got > table*5/4 {
			return fmt.Errorf("%s %d bytes are resident for a table of %d, %.2f times as many", when, got, table, float64(got)/float64(table))
		}
		t.Logf("%s %d bytes are resident for a table of %d, %.2f times as many", when, got, table, float64(got)/float64(table))
		return nil
	})
}

// Invariant: an instance has at most 1.25 times its table resident, in addition to the memory of an instance with a small dataset:
// after a cold start that follows ten deltas, from a relay or from the cache folder, and after refreshes by deltas although no
// lookup comes after the first. Versions that are kept for rollbacks come on top, so it keeps none.
func TestResidentMemoryFollowsTheTable(t *testing.T) {
	withoutForcedHugePages(t)
	s := newStorm(t, "")
	relay := s.relay("")
	server := func(cache, dataset string) *program {
		return start(t, "server", "NATS_URL="+s.nats.URL, "RELAYS="+relay.URL, "DATASETS="+dataset, "CACHE_DIR="+cache, "KEEP_ROOTS=0")
	}
	s.publish("small", 1, 10)
	small := server(t.TempDir(), "small")
	awaitVersion(t, small, "small", 1)
	base := resident(t, small.PID())

	version := uint64(0)
	change := func(seed byte, step int) {
		in := priced(seed, step)
		var rec publish.Result
		var err error
		if step == 1 {
			rec, err = s.publisher.Publish(t.Context(), "prices", in)
		} else {
			var patched publish.PatchResult
			patched, err = s.publisher.Patch(t.Context(), "prices", publish.PatchInput{Input: in})
			rec = patched.Result
		}
		if version++; err != nil || rec.Record.Version != version {
			t.Fatalf("publish version %d: %+v, %v", version, rec, err)
		}
	}
	change(1, 1)
	for i := range byte(10) {
		change(10+i, 25) // 4 % each
	}
	cache := t.TempDir()
	instance := server(cache, "prices")
	memorySettles(t, "after a cold start", instance, version, base)
	instance.Stop()
	relay.Stop()
	instance.Start()
	memorySettles(t, "after a cold start from the cache folder", instance, version, base)
	relay.Start()

	if _, got, err := get(t.Context(), instance, "prices", "product-00000000"); err != nil || got != strconv.FormatUint(version, 10) {
		t.Errorf("a lookup is answered from version %s: %v", got, err)
	}
	for i := range byte(10) {
		change(30+i, 25)
		awaitVersion(t, instance, "prices", version)
	}
	memorySettles(t, "after ten refreshes by deltas", instance, version, base)
	if status, _, _, err := do(t.Context(), http.MethodGet, instance.URL+"/healthz", "", nil); err != nil || status != http.StatusOK {
		t.Errorf("it answers %d, %v", status, err)
	}
}
