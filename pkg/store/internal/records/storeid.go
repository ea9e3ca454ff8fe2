package records

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
	"freshet.dev/pkg/store"
)

// readConcurrency is the number of datasets whose records ChooseID reads at a time.
const readConcurrency = 8

// idContent is the content of store.json. Sum is the XXH3-64 of the id's text, so that a flipped bit does not turn the id into that of
// another store. Files of an earlier release have no sum.
type idContent struct {
	ID  dataset.StoreID `json:"id"`
	Sum string          `json:"sum,omitempty"`
}

func sumOf(id dataset.StoreID) string { return fmt.Sprintf("%016x", xxh3.HashString(id.String())) }

// EncodeID returns the content of the file of the store id.
func EncodeID(id dataset.StoreID) ([]byte, error) { return json.Marshal(idContent{id, sumOf(id)}) }

// DecodeID decodes the store id that was read at place.
func DecodeID(b []byte, place string) (dataset.StoreID, error) {
	var content idContent
	err := json.Unmarshal(b, &content)
	switch {
	case err != nil:
	case content.ID.IsZero():
		err = errors.New("it has no id")
	case content.Sum != "" && content.Sum != sumOf(content.ID):
		err = fmt.Errorf("its id %s does not have the sum %.20q", content.ID, content.Sum)
	}
	if err != nil {
		return dataset.StoreID{}, DamagedID(place, err)
	}
	return content.ID, nil
}

// DamagedID returns the error for a damaged store id.
func DamagedID(place string, why error) error {
	return fmt.Errorf("%w: the store id at %s: %w; put back a good copy of it, or remove it: then the publisher takes the id that most datasets' records name",
		store.ErrDamaged, place, why)
}

// NoID returns the error for a store without an id.
func NoID(st store.Store) error {
	return fmt.Errorf("the store id: %w %s", store.ErrNotFound, st)
}

// ChooseID returns the id for a store that has none: the id that the newest records of most datasets name, or a random id if no record
// names one.
func ChooseID(ctx context.Context, st store.Store) (dataset.StoreID, error) {
	names, err := st.Datasets(ctx)
	if err != nil {
		return dataset.StoreID{}, fmt.Errorf("read the store id from the version records: %w", err)
	}
	type answer struct {
		id  dataset.StoreID
		err error
	}
	answers := iter.Mapper[string, answer]{MaxGoroutines: readConcurrency}.Map(names, func(name *string) answer {
		rec, err := st.Latest(ctx, *name)
		return answer{rec.StoreID, err}
	})
	datasets := map[dataset.StoreID]int{} // the zero id: datasets whose record has none, written before store ids existed
	var damaged error
	for _, a := range answers {
		switch {
		case a.err == nil:
			datasets[a.id]++
		case errors.Is(a.err, store.ErrDamaged):
			damaged = a.err
		case !errors.Is(a.err, store.ErrNotFound):
			return dataset.StoreID{}, fmt.Errorf("read the store id from the version records: %w", a.err)
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
