package storeurl_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
)

func ExampleOpen() {
	folder, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	ctx := context.Background()
	st, err := storeurl.Open(ctx, "dir://"+folder)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()

	// Objects first, then the version record that names them: the commit.
	content := "in practice a file of package snapshot"
	object := dataset.Object{Version: 1, Digest: sha256.Sum256([]byte(content)), Bytes: int64(len(content))}
	if err := st.PutObject(ctx, object.Digest, object.Bytes, strings.NewReader(content)); err != nil {
		log.Fatal(err)
	}
	rec := dataset.VersionRecord{Dataset: "prices", Version: 1, Snapshot: object, Created: time.Now()}
	if err := st.PutVersion(ctx, rec); err != nil {
		log.Fatal(err)
	}
	fmt.Println("second try:", errors.Is(st.PutVersion(ctx, rec), store.ErrExists))

	latest, err := st.Latest(ctx, "prices")
	if err != nil {
		log.Fatal(err)
	}
	r, err := st.OpenObject(ctx, latest.Snapshot.Digest, 0, -1)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s\n", latest.ID(), b)
	// Output:
	// second try: true
	// prices/1: in practice a file of package snapshot
}
