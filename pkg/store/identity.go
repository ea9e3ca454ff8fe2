package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sourcegraph/conc/iter"
	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// identity is the content of idFile. Sum is the XXH3-64 of the id's text, so that a flipped bit does not make it the id of another
// store; a file of an earlier release lacks it.
type identity struct {
	ID  dataset.StoreID `json:"id"`
	Sum string          `json:"sum,omitempty"`
}

func sumOf(id dataset.StoreID) string { return fmt.Sprintf("%016x", xxh3.HashString(id.String())) }

func encodeIdentity(id dataset.StoreID) ([]byte, error) { return json.Marshal(identity{id, sumOf(id)}) }

// decodeIdentity returns the store id that place held when it was read.
func decodeIdentity(b []byte, place string) (dataset.StoreID, error) {
	var in identity
	err := json.Unmarshal(b, &in)
	switch {
	case err != nil:
	case in.ID.IsZero():
		err = errors.New("it has no id")
	case in.Sum != "" && in.Sum != sumOf(in.ID):
		err = fmt.Errorf("its id %s does not have the sum %.20q", in.ID, in.Sum)
	}
	if err != nil {
		return dataset.StoreID{}, damagedIdentity(place, err)
	}
	return in.ID, nil
}

func damagedIdentity(place string, why error) error {
	return fmt.Errorf("%w: the store id at %s: %w; put back a good copy of it, or remove it: then the publisher takes the id that most datasets' records name",
		ErrDamaged, place, why)
}

// drawID returns the id for a store that lacks idFile: the one that the newest records of most datasets name, or a new one if none
// names any.
func drawID(ctx context.Context, st Store) (dataset.StoreID, error) {
	names, err := st.Datasets(ctx)
	if err != nil {
		return dataset.StoreID{}, fmt.Errorf("look for the store id in version records: %w", err)
	}
	type answer struct {
		id  dataset.StoreID
		err error
	}
	answers := iter.Mapper[string, answer]{MaxGoroutines: readLanes}.Map(names, func(name *string) answer {
		rec, err := st.Latest(ctx, *name)
		return answer{rec.StoreID, err}
	})
	datasets := map[dataset.StoreID]int{} // zero: of those whose record names none, as one of a release before store ids
	var damaged error
	for _, a := range answers {
		switch {
		case a.err == nil:
			datasets[a.id]++
		case errors.Is(a.err, ErrDamaged):
			damaged = a.err
		case !errors.Is(a.err, ErrNotFound):
			return dataset.StoreID{}, fmt.Errorf("look for the store id in version records: %w", a.err)
		}
	}
	if damaged != nil && len(datasets) == 0 {
		return dataset.StoreID{}, fmt.Errorf("%s is missing, and every record that may name the store id is damaged: %w", st.IDPlace(), damaged)
	}
	delete(datasets, dataset.StoreID{})
	if len(datasets) == 0 {
		return dataset.NewStoreID(), nil
	}
	return slices.MaxFunc(slices.Collect(maps.Keys(datasets)), func(a, b dataset.StoreID) int {
		return cmp.Or(cmp.Compare(datasets[a], datasets[b]), cmp.Compare(a.String(), b.String()))
	}), nil
}
