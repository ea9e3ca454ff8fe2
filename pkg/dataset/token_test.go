package dataset_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

func TestToken(t *testing.T) {
	id := strings.Repeat("0123456789", 4)
	text := "prices/17@" + id
	token, err := dataset.ParseToken(text)
	if err != nil || token.Dataset != "prices" || token.Version != 17 || token.ID.String() != id || token.String() != text || token.IsZero() {
		t.Errorf("%+v, %v", token, err)
	}
	var back struct{ Token dataset.Token }
	encoded, err := json.Marshal(map[string]dataset.Token{"Token": token})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &back); err != nil || back.Token != token {
		t.Errorf("%s: %+v, %v", encoded, back, err)
	}
	// As it is in a query.
	query, err := url.ParseQuery("at_least=" + text)
	if err != nil || query.Get("at_least") != text {
		t.Errorf("%v, %v", query, err)
	}
	if err := back.Token.UnmarshalText(nil); err != nil || !back.Token.IsZero() || back.Token.String() != "" {
		t.Errorf("empty text: %+v, %v", back.Token, err)
	}
}

func TestRefusedTokens(t *testing.T) {
	id := strings.Repeat("0123456789", 4)
	for text, want := range map[string]string{
		"":                       "has no /",
		"prices":                 "has no /",
		"17@" + id:               "has no /",
		"Prices/17@" + id:        "no name of a dataset",
		"/17@" + id:              "no name of a dataset",
		"prices/17":              "the number alone names no version",
		"prices/17@":             "no whole version id",
		"prices/17@0123456789ab": "no whole version id",
		"prices/17@" + id + "0":  "no whole version id",
		"prices/17@" + id + " ":  "no whole version id",
		"prices/17@" + strings.ToUpper("abcdef0123") + id[10:]: "no whole version id",
		"prices/0@" + id:                    "no version number",
		"prices/017@" + id:                  "no version number",
		"prices/+17@" + id:                  "no version number",
		"prices/18446744073709551615@" + id: "no version number",
		"prices/17/18@" + id:                "no version number",
		"prices/@" + id:                     "no version number",
	} {
		token, err := dataset.ParseToken(text)
		if !errors.Is(err, dataset.ErrToken) || !strings.Contains(err.Error(), want) || !token.IsZero() {
			t.Errorf("%q: %+v, %v; want %q", text, token, err, want)
		}
	}
}

// A record names versions of its history by the version before and by its deltas.
func TestAncestor(t *testing.T) {
	id := func(version byte) dataset.VersionID { return dataset.VersionID{version} }
	chained := dataset.VersionRecord{
		StoreID: dataset.StoreID{1}, Dataset: "prices", Version: 18, Previous: id(17), Snapshot: dataset.Object{Version: 16},
		Deltas: []dataset.Object{{Version: 16, From: id(15)}, {Version: 17, From: id(16)}, {Version: 18, From: id(17)}},
	}
	alone := dataset.VersionRecord{StoreID: dataset.StoreID{1}, Dataset: "prices", Version: 18, Previous: id(17), Snapshot: dataset.Object{Version: 18}}
	old := dataset.VersionRecord{Dataset: "prices", Version: 18, Deltas: []dataset.Object{{Version: 18}}}
	for name, c := range map[string]struct {
		rec     dataset.VersionRecord
		version uint64
		want    dataset.VersionID
	}{
		"itself":                       {chained, 18, chained.VersionID()},
		"the version before":           {chained, 17, id(17)},
		"the first delta":              {chained, 15, id(15)},
		"before the first delta":       {chained, 14, dataset.VersionID{}},
		"a later version":              {chained, 19, dataset.VersionID{}},
		"the version before, alone":    {alone, 17, id(17)},
		"further back, alone":          {alone, 16, dataset.VersionID{}},
		"a release before version ids": {old, 17, dataset.VersionID{}},
	} {
		got, ok := c.rec.Ancestor(c.version)
		if got != c.want || ok != !c.want.IsZero() {
			t.Errorf("%s: %s, %t; want %s", name, got, ok, c.want)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("prices/17@" + strings.Repeat("0123456789", 4))
	f.Add("prices/17")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := dataset.ParseToken(text)
		if err == nil && token.String() != text {
			t.Errorf("%q is %q", text, token)
		}
	})
}
