package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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
	return fmt.Errorf("%w: the store id at %s: %w; put back a good copy of it, or remove it: then the publisher takes the id that the version records name",
		ErrDamaged, place, why)
}

// recordLook is how many of a dataset's newest records are read for the store id.
const recordLook = 8

// drawID returns the id for a store that lacks idFile: the one that its version records name, or a new one if none names any.
func drawID(ctx context.Context, st Store) (dataset.StoreID, error) {
	names, err := st.Datasets(ctx)
	if err != nil {
		return dataset.StoreID{}, fmt.Errorf("look for the store id in version records: %w", err)
	}
	var named dataset.VersionRecord // the first record found that names a store
	var unread error
	for _, name := range names {
		recs, err := st.Versions(ctx, name, 0, recordLook)
		switch {
		case errors.Is(err, ErrDamaged) && len(recs) == 0:
			unread = err
			continue
		case err != nil && !errors.Is(err, ErrDamaged):
			return dataset.StoreID{}, fmt.Errorf("look for the store id in version records: %w", err)
		}
		i := slices.IndexFunc(recs, func(r dataset.VersionRecord) bool { return !r.StoreID.IsZero() })
		if i < 0 {
			continue // a release before store ids wrote them
		}
		switch rec := recs[i]; {
		case named.StoreID.IsZero():
			named = rec
		case named.StoreID != rec.StoreID:
			return dataset.StoreID{}, fmt.Errorf("%w: %s is missing, the record at %s names store %s and the record at %s names store %s; "+
				"put back a good copy of %s", ErrDamaged, st.IDPlace(), st.RecordPlace(named.Dataset, named.Version), named.StoreID,
				st.RecordPlace(rec.Dataset, rec.Version), rec.StoreID, st.IDPlace())
		}
	}
	switch {
	case !named.StoreID.IsZero():
		return named.StoreID, nil
	case unread != nil:
		return dataset.StoreID{}, fmt.Errorf("%s is missing, and records that may name the store id are damaged: %w", st.IDPlace(), unread)
	}
	return dataset.NewStoreID(), nil
}
