package timeline_test

import (
	"reflect"
	"testing"

	"freshet.dev/pkg/timeline"
)

// A cursor comes from a request. The positions of a cursor that is accepted make a cursor with the same positions.
func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add(timeline.Positions{}.Cursor())
	f.Add(timeline.Positions{"prices": {Version: 3, Entry: 1}, "rules": {Version: 1 << 60}}.Cursor())
	f.Fuzz(func(t *testing.T, text string) {
		p, err := timeline.ParseCursor(text)
		if err != nil {
			return
		}
		if again, err := timeline.ParseCursor(p.Cursor()); err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q is %v, then %v: %v", text, p, again, err)
		}
	})
}
