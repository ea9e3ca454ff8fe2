package delta

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
	"freshet.dev/scripts/benchmarks/internal/system"
)

const (
	burstName    = "burst"
	burstRecords = 100_000
	burstChanges = 10
	// burstWarm is the number of versions before the burst, so that the connections, buffers and code of the first refreshes do not
	// count.
	burstWarm = 50
	// mostBurst bounds resident memory after the burst, relative to before.
	mostBurst = 1.1
)

// burst is an instance's report of a burst of versions.
type burst struct {
	// Before and After are resident bytes after a collection, End the resident bytes at the end of the burst, Peak their maximum.
	Before, End, Peak, After int64
	// TableBefore and TableAfter are the sizes that the tables report.
	TableBefore, TableAfter int64
	Deltas, Full, GaveUp    uint64 // refreshes
	Lookups                 uint64
	// Backwards counts versions that a reader saw after a newer one, Lost the records that the reader did not find.
	Backwards, Lost uint64
}

// lastVersion returns the last version of a burst of the given number of versions.
func lastVersion(versions int) uint64 { return uint64(1 + burstWarm + versions) }

// measureBurst runs an instance in this process with its cache in folder, and reads until the instance serves the last version. It
// creates the file readyIn when the instance is ready for the burst.
func measureBurst(ctx context.Context, nats, relay, folder string, last uint64) (b burst, err error) {
	s, err := subscribe.Open(ctx, subscribe.Config{
		NATS: nats, Relays: []string{relay}, Datasets: []string{burstName}, CacheDir: filepath.Join(folder, "cache"), Instance: "burst",
	})
	if err != nil {
		return b, err
	}
	defer s.Close()
	if err := s.Wait(ctx); err != nil {
		return b, err
	}
	served, err := s.Dataset(burstName)
	if err != nil {
		return b, err
	}
	for served.Table().Version() < 1+burstWarm && ctx.Err() == nil {
		pause(ctx, time.Millisecond)
	}
	if b.Before, err = proc.Settle(); err != nil {
		return b, err
	}
	if err := proc.ResetPeak(); err != nil {
		return b, err
	}
	if err := os.WriteFile(readyIn(folder), nil, 0o600); err != nil {
		return b, err
	}
	count := served.Table().Len()
	b.TableBefore = served.Table().Bytes()
	var lookups, backwards, lost atomic.Uint64
	readers := pool.New().WithContext(ctx)
	for i := range 2 {
		readers.Go(func(ctx context.Context) error {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			version := uint64(0)
			for version < last && ctx.Err() == nil {
				t := served.Table()
				if t.Version() < version {
					backwards.Add(1)
				}
				version = t.Version()
				lost.Add(uint64(manyKeys - read(t, rng, count)))
				lookups.Add(manyKeys)
				// Without pauses the reader would starve the publisher and the servers on a small machine.
				pause(ctx, 200*time.Microsecond)
			}
			return ctx.Err()
		})
	}
	if err := readers.Wait(); err != nil {
		return b, err
	}
	if b.End, err = proc.Resident(); err != nil {
		return b, err
	}
	if b.Peak, err = proc.PeakResident(); err != nil {
		return b, err
	}
	if b.After, err = proc.Settle(); err != nil {
		return b, err
	}
	b.TableAfter = served.Table().Bytes()
	b.Lookups, b.Backwards, b.Lost = lookups.Load(), backwards.Load(), lost.Load()
	refreshes := served.Status().Refreshes
	b.Deltas, b.Full, b.GaveUp = refreshes.Delta, refreshes.Full, refreshes.Fallbacks
	return b, nil
}

// readyIn is the file that signals that an instance is ready for a burst.
func readyIn(folder string) string { return filepath.Join(folder, "ready") }

// read looks up some random records in one version and returns how many exist.
func read(t *table.Table, rng *rand.Rand, count int) int {
	return getMany(t, rows.Keys(rng, manyKeys, 0, count))
}

// await waits until a file exists at path.
func await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		pause(ctx, 10*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %s: %w", path, ctx.Err())
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// showBurst publishes many small versions while an instance is being read, and prints the instance's report.
func (b *bench) showBurst(ctx context.Context) error {
	url := "dir://" + filepath.Join(b.folder, "burst-store")
	if err := b.putAll(ctx, url, []string{burstName}, []int{burstRecords}); err != nil {
		return err
	}
	folder, err := os.MkdirTemp(b.folder, "burst-")
	if err != nil {
		return err
	}
	var is burst
	var took, lag time.Duration
	err = system.Run(ctx, b.folder, url, func(s *system.System) error {
		p, end, err := newPatcher(ctx, s.NATS, s.Publisher, burstName)
		if err != nil {
			return err
		}
		defer end()
		instance := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
		instance.Go(func(ctx context.Context) error {
			return proc.Child(ctx, &is, "delta", "-part", "burst", "-data", folder, "-versions", strconv.Itoa(b.versions),
				"-nats", s.NATS, "-relay", s.Relay)
		})
		instance.Go(func(ctx context.Context) error {
			if _, _, err := p.served(ctx, 1, 1); err != nil {
				return err
			}
			var start time.Time
			for i := range burstWarm + b.versions {
				if i == burstWarm {
					if err := await(ctx, readyIn(folder)); err != nil {
						return err
					}
					start = time.Now()
				}
				rec, _, _, _, err := p.send(ctx, burstName, burstRecords, burstChanges, i+1)
				if err != nil {
					return err
				}
				if want := uint64(i + 2); rec.Version != want {
					return fmt.Errorf("version %d was made, want %d", rec.Version, want)
				}
			}
			took = time.Since(start)
			lastServed, _, err := p.served(ctx, lastVersion(b.versions), 1)
			lag = lastServed.Sub(start) - took
			return err
		})
		return instance.Wait()
	})
	if err != nil {
		return err
	}
	return b.printBurst(is, took, lag)
}

func (b *bench) printBurst(is burst, took, lag time.Duration) error {
	mb := func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }
	title := fmt.Sprintf("%d versions of %d changes in %d records, published in %.1f s, while an instance is read", b.versions, burstChanges, burstRecords, took.Seconds())
	return b.table(title, func(line func(...any)) {
		line("resident before, MB", mb(is.Before))
		line("peak", mb(is.Peak))
		line("right at the end", mb(is.End))
		ratio := float64(is.After) / float64(is.Before)
		line("after, without garbage", mb(is.After), fmt.Sprintf("%.3f", ratio), b.most("resident memory after the burst", ratio, mostBurst))
		line("the table says, before", mb(is.TableBefore))
		line("the table says, after", mb(is.TableAfter))
		line("refreshes by deltas", is.Deltas)
		line("refreshes by snapshots", is.Full, "of them gave up deltas", is.GaveUp)
		line("from the last answer to the last version served, ms", ms(max(0, int64(lag))))
		line("lookups", is.Lookups)
		line("records not found", is.Lost, "", b.most("records that readers did not find", float64(is.Lost), 0))
		line("versions seen after a newer one", is.Backwards, "", b.most("versions that readers saw after a newer one", float64(is.Backwards), 0))
	})
}
