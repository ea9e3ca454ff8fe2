package delta

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/scripts/benchmarks/internal/system"
)

const (
	// patchSmall is the number of records of the small dataset, patchChanges the number of changes in a patch.
	patchSmall   = 10_000
	patchChanges = 100
	// mostPatch bounds the time of a patch of the largest dataset relative to the small one: "the same order of time" in the design.
	mostPatch = 10
	// warmPatches is the number of patches before the timed ones. They open connections, and the first reads the snapshot's index.
	warmPatches = 2
	// patchRounds is below the number of deltas after which the publisher writes a new snapshot.
	patchRounds = 25
)

// showPatch prints how long patches of a small and of the largest dataset take from the request to the instances.
func (b *bench) showPatch(ctx context.Context) error {
	counts := []int{patchSmall, slices.Max(b.counts)}
	names := []string{"small", "large"}
	url := "dir://" + filepath.Join(b.folder, "patch-store")
	if err := b.putAll(ctx, url, names, counts); err != nil {
		return err
	}
	times := make([][]patched, len(names))
	err := system.Run(ctx, b.folder, url, func(s *system.System) error {
		patchers := make([]*patcher, len(names))
		for i, name := range names {
			p, end, err := newPatcher(ctx, s.NATS, s.Publisher, name)
			if err != nil {
				return err
			}
			defer end()
			patchers[i] = p
		}
		const instances = 2
		for i := range instances {
			at := s.Instance("bench-"+strconv.Itoa(i+1), names...)
			for _, p := range patchers {
				p.instances = append(p.instances, at)
			}
		}
		for _, p := range patchers {
			if _, _, err := p.served(ctx, 1, instances); err != nil {
				return err
			}
		}
		for round := range warmPatches + min(b.rounds*2, patchRounds) {
			for i, name := range names {
				t, err := patchers[i].one(ctx, name, counts[i], patchChanges, round+1)
				if err != nil {
					return err
				}
				if round >= warmPatches {
					times[i] = append(times[i], t)
				} else if round == 0 {
					fmt.Fprintf(b.out, "\nThe first patch of %d records, which reads the index of the snapshot: %s ms until both instances serve\n", counts[i], ms(t.Served))
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	title := fmt.Sprintf("A patch of %d changes, from the request to 2 instances that serve it, medians of %d: publisher, relay, instances, NATS and Redis are processes",
		patchChanges, len(times[0]))
	small, large := middle(times[0]), middle(times[1])
	return b.table(title, func(line func(...any)) {
		line("", "served everywhere ms", "publisher has answered ms", "longest refresh ms", "ratio", "bound")
		line(fmt.Sprintf("%d records", counts[0]), ms(small.Served), ms(small.Answered), ms(small.Refresh), "1", "")
		ratio := float64(large.Served) / float64(small.Served)
		line(fmt.Sprintf("%d records", counts[1]), ms(large.Served), ms(large.Answered), ms(large.Refresh), fmt.Sprintf("%.2f", ratio),
			b.most(fmt.Sprintf("a patch of %d records against one of %d", counts[1], counts[0]), ratio, mostPatch))
	})
}

// putAll writes datasets with the given numbers of records to the store at url.
func (b *bench) putAll(ctx context.Context, url string, names []string, counts []int) error {
	st, err := storeurl.Open(ctx, url)
	if err != nil {
		return err
	}
	defer st.Close()
	for i, name := range names {
		if b.data[counts[i]] == "" {
			if b.data[counts[i]], err = makeData(b.folder, counts[i], false); err != nil {
				return err
			}
		}
		d, err := readData(b.data[counts[i]])
		if err != nil {
			return err
		}
		if err := putBase(ctx, st, name, d); err != nil {
			return err
		}
	}
	return nil
}
