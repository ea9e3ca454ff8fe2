package publish_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
)

func TestParseBase(t *testing.T) {
	id := dataset.VersionID{0xab}.String()
	for text, want := range map[string]struct {
		version   uint64
		id, error string
	}{
		"41":                   {version: 41},
		"41@" + id:             {version: 41, id: id},
		"41@" + id[:12]:        {version: 41, id: id[:12]},
		"0":                    {error: "versions begin at 1"},
		"0@" + id:              {error: "versions begin at 1"},
		"":                     {error: "want a whole number"},
		"-1":                   {error: "want a whole number"},
		"x":                    {error: "want a whole number"},
		"@" + id:               {error: "want a whole number"},
		"18446744073709551616": {error: "want a whole number"},
		"41@":                  {error: "has no id after it"},
		"41@" + id[:11]:        {error: "want 12 to 40 lower-case hex digits"},
		"41@" + id + "0":       {error: "want 12 to 40 lower-case hex digits"},
		"41@" + id[:11] + "x":  {error: "want 12 to 40 lower-case hex digits"},
		"41@" + id + "@" + id:  {error: "want 12 to 40 lower-case hex digits"},
	} {
		version, gotID, err := publish.ParseBase(text)
		if version != want.version || gotID != want.id || (err == nil) != (want.error == "") || err != nil && !strings.Contains(err.Error(), want.error) {
			t.Errorf("%q: %d, %q, %v; want %+v", text, version, gotID, err, want)
		}
	}
}

func TestPatchRefusesABaseThatIsNoVersion(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "prices", `{"id":"a"}`)
	for want, in := range map[string]publish.PatchInput{
		"stands without a version number": {BaseID: strings.Repeat("a", 12)},
		"is no version id":                {Base: 1, BaseID: "A"},
	} {
		in.Input = input(`{"id":"b"}`)
		if _, err := r.Patch(t.Context(), "prices", in); !errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// A store is restored from a copy, and another version 2 is published. A patch for the lost version 2 is refused by its id, and its number
// passes.
func TestPatchForAVersionThatARestoreLost(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "prices", `{"id":"a"}`)
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(strings.TrimPrefix(r.url, "dir://"))); err != nil {
		t.Fatal(err)
	}
	lost := r.text(t, "prices", `{"id":"lost"}`).Record.VersionID()
	st, err := storeurl.Open(t.Context(), "dir://"+copied)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	restored := must(publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: st}))
	now := must(restored.Publish(t.Context(), "prices", input(`{"id":"now"}`))).Record
	if now.Version != 2 || now.VersionID() == lost {
		t.Fatalf("%+v", now)
	}
	try := func(id, line string) (publish.PatchResult, error) {
		in := patch(line)
		in.Base, in.BaseID = 2, id
		return restored.Patch(t.Context(), "prices", in)
	}
	for _, id := range []string{lost.String(), lost.Short()} {
		_, err := try(id, `{"id":"b"}`)
		want := "the patch is for version 2 (" + lost.Short() + "), the newest is " + now.Ref().String() + "; the store was restored or created again: make the patch again from its version"
		if !errors.Is(err, publish.ErrConflict) || !strings.Contains(err.Error(), want) {
			t.Errorf("for version 2 with the id %s: %v; want %s", id, err, want)
		}
	}
	for _, id := range []string{"", now.VersionID().Short(), now.VersionID().String()} {
		if result, err := try(id, `{"id":"now"}`); err != nil || result.Created {
			t.Errorf("for version 2 with the id %q: %+v, %v", id, result, err)
		}
	}
}
