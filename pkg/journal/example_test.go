package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/store/dir"
)

// A program sets the gates of a dataset before its first publish.
func ExampleJournal_Set() {
	folder, err := os.MkdirTemp("", "freshet")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	st, err := dir.Open(folder)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer st.Close()
	j, err := journal.New(journal.Config{}, journal.Deps{Store: st})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	result, err := j.Set(ctx, "prices", journal.Change{
		Set: map[string]json.RawMessage{"min_records": json.RawMessage("1000")},
		By:  "ann@host", Reason: "an empty feed must not reach the shops",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	settings, err := j.Of(ctx, "prices")
	fmt.Println(result.Changed, result.Entry.Number, settings.Gates.MinRecords, err)
	// Output: true 1 1000 <nil>
}
