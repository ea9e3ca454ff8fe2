package load

import (
	"errors"
	"testing"
)

// While a version is on its way to the cache folder and does not get there, the next ones are loaded without going near the
// disk; when it has got there, or was given up, the folder is used again.
func TestVersionsPassOneThatHangsAtTheCache(t *testing.T) {
	for name, swapped := range map[string]bool{"it got there": true, "it was given up": false} {
		t.Run(name, func(t *testing.T) {
			rec, file := version(t, 1, 100, 1000)
			l, _ := loader(t, file)
			hangs, err := l.Load(t.Context(), rec, nil, nothing)
			if err != nil {
				t.Fatal(err)
			}
			rec.Version, rec.Snapshot.Version = 2, 2
			second, err := l.Load(t.Context(), rec, nil, nothing)
			if err != nil {
				t.Fatal(err)
			}
			if err := second.Finish(true); !errors.Is(err, errDrafting) {
				t.Errorf("Finish says %v, want that the version is not kept", err)
			}
			if err := hangs.Finish(swapped); err != nil {
				t.Fatal(err)
			}
			rec.Version, rec.Snapshot.Version = 3, 3
			third, err := l.Load(t.Context(), rec, nil, nothing)
			if err != nil {
				t.Fatal(err)
			}
			if err := third.Finish(true); err != nil {
				t.Fatal(err)
			}
			if v, err := l.Stored(t.Context(), "prices", nothing); err != nil || v.Record.Version != 3 {
				t.Errorf("the cache folder has version %d, %v", v.Record.Version, err)
			}
		})
	}
}
