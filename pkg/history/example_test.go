package history_test

import (
	"context"
	"fmt"
	"maps"
	"os"

	"freshet.dev/pkg/history"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
)

// A dataset with two versions is read: the old value of a record, what the second version changed, and the record through the versions.
func Example() {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "freshet-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	st, err := storeurl.Open(ctx, "dir://"+folder)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{}, publish.Deps{Store: st})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, prices := range []map[string]string{{"apple": "1.20", "pear": "0.90"}, {"apple": "1.30", "pear": "0.90"}} {
		if _, err := p.Publish(ctx, "prices", publish.Input{Records: publish.Pairs(maps.All(prices))}); err != nil {
			fmt.Println(err)
			return
		}
	}

	reader := history.New(history.Config{}, st)
	first, err := reader.Open(ctx, "prices", 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := first.Get(ctx, []byte("apple"), []byte("plum"))
	fmt.Printf("version 1: %q, %v\n", values, err)

	diff, err := reader.Diff(ctx, "prices", 1, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	for c, err := range diff.Changes(ctx, nil) {
		fmt.Printf("%v %s: %s to %s, %v\n", c.Op, c.Key, c.Old, c.New, err)
	}

	timeline, err := reader.History(ctx, "prices", []byte("apple"), 0, 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range timeline.Events(ctx) {
		fmt.Printf("version %d %v it: %s, %v\n", e.Version.Version, e.Change.Op, e.Change.New, err)
	}
	// Output:
	// version 1: ["1.20" ""], <nil>
	// changed apple: 1.20 to 1.30, <nil>
	// version 2 changed it: 1.30, <nil>
	// version 1 added it: 1.20, <nil>
}
