package publish_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
)

// A pipeline publishes two successive versions of a dataset into a folder. Giving Deps the event log and the catalog
// besides is what makes instances refresh.
func Example() {
	dir, err := os.MkdirTemp("", "prices")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	st, err := storeurl.Open(ctx, "dir://"+dir)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{Source: "nightly pipeline"}, publish.Deps{Store: st})
	if err != nil {
		log.Fatal(err)
	}
	for _, records := range []string{
		`{"sku":"A1","cents":995}` + "\n" + `{"sku":"B2","cents":1250}`,
		`{"sku":"A1","cents":995}` + "\n" + `{"sku":"B2","cents":1190}` + "\n" + `{"sku":"C3","cents":10}`,
	} {
		result, err := p.Publish(ctx, "prices", publish.Input{Body: strings.NewReader(records), Key: "sku"})
		if err != nil {
			log.Fatal(err)
		}
		r := result.Record
		fmt.Printf("%s: %d records, %d added, %d changed\n", r.ID(), r.State.Records, r.Changes.Added, r.Changes.Changed)
	}
	// Output:
	// prices/1: 2 records, 2 added, 0 changed
	// prices/2: 3 records, 1 added, 1 changed
}

// An input that cannot be published as it is says where and why, and nothing is published.
func ExampleInputError() {
	dir, err := os.MkdirTemp("", "prices")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	st, err := storeurl.Open(ctx, "dir://"+dir)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{}, publish.Deps{Store: st})
	if err != nil {
		log.Fatal(err)
	}
	_, err = p.Publish(ctx, "prices", publish.Input{
		Body:   strings.NewReader("sku,cents\nA1,995\nB2,1250\nA1,990\n"),
		Format: publish.FormatCSV,
		Key:    "sku",
	})
	fmt.Println(err)
	// Output:
	// dataset "prices": line 4: key "A1": the key stands on line 2 already; a key may come once; remove one of the two records, or name a member as the key that tells them apart
}

// A Go program publishes records without writing them as text. Values are any bytes. An error of the source publishes nothing.
func ExampleInput_records() {
	dir, err := os.MkdirTemp("", "prices")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	st, err := storeurl.Open(ctx, "dir://"+dir)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{}, publish.Deps{Store: st})
	if err != nil {
		log.Fatal(err)
	}
	rows := slices.Values([]string{"A1 995", "B2 1250"}) // of a database, say

	records := func(yield func(dataset.Record, error) bool) {
		for row := range rows {
			var key string
			var cents uint32
			_, err := fmt.Sscan(row, &key, &cents)
			value := binary.BigEndian.AppendUint32(nil, cents)
			if !yield(dataset.Record{Key: []byte(key), Value: value}, err) {
				return
			}
		}
	}
	result, err := p.Publish(ctx, "prices", publish.Input{Records: records})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Record.ID(), result.Record.State.Records)

	// Records in memory need no loop. In a patch, Removed removes a key.
	added := map[string][]byte{"C3": {0, 0, 0, 10}}
	_, err = p.Patch(ctx, "prices", publish.PatchInput{Input: publish.Input{Records: publish.Pairs(maps.All(added))}})
	if err != nil {
		log.Fatal(err)
	}
	patch, err := p.Patch(ctx, "prices", publish.PatchInput{Input: publish.Input{
		Records: func(yield func(dataset.Record, error) bool) {
			yield(dataset.Record{Key: []byte("B2"), Removed: true}, nil)
		},
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(patch.Record.ID(), patch.Record.State.Records)
	// Output:
	// prices/1 2
	// prices/3 2
}
