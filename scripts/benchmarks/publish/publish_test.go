package publish

import "testing"

// TestSteps runs each step once with a small size in this process.
func TestSteps(t *testing.T) {
	const count = 5000
	folder := t.TempDir()
	for version, changed := range []int64{count, count / updateEvery} {
		if err := writeInput(inputIn(folder), count, version); err != nil {
			t.Fatal(err)
		}
		c, err := child(t.Context(), "publish", folder)
		if err != nil {
			t.Fatal(err)
		}
		if c.Records != count || c.Changed != changed || c.Bytes <= 0 || c.Peak <= 0 {
			t.Errorf("publishing version %d: %+v", version+1, c)
		}
	}
	c, err := child(t.Context(), "load", folder)
	if err != nil {
		t.Fatal(err)
	}
	if c.Records != count || c.Payload != count*116 || c.TableBytes < c.Payload {
		t.Errorf("loading: %+v", c)
	}
}
