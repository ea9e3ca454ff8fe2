package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Sizes of a record in bytes. redis-benchmark writes random numbers with 12 digits.
const (
	keyBytes   = 12
	valueBytes = 100
)

func key(i int) string { return fmt.Sprintf("%0*d", keyBytes, i) }

func value(i int) string {
	text := fmt.Sprintf(`{"key":"%s","sku":%d,"price":%d.%02d,"name":"`, key(i), 1_000_000+i, 100+i%900, i%100)
	return text + strings.Repeat("x", valueBytes-len(text)-2) + `"}`
}

// writeRecords writes the records as NDJSON and returns the name of the file.
func (b *bench) writeRecords() (name string, err error) {
	f, err := os.Create(filepath.Join(b.folder, "records.ndjson"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	for i := range b.records {
		if _, err := w.WriteString(value(i) + "\n"); err != nil {
			return "", err
		}
	}
	return f.Name(), w.Flush()
}

// publish publishes the file as the dataset.
func publish(ctx context.Context, publisher, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, publisher+"/v1/datasets/"+name+"/versions?key=key", f)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("publish: %s: %s", resp.Status, text)
	}
	return nil
}

// fill sets all records in a redis-server.
func (b *bench) fill(ctx context.Context, addr string) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	const batch = 1000
	for from := 0; from < b.records; from += batch {
		pairs := make([]any, 0, 2*batch)
		for i := from; i < min(from+batch, b.records); i++ {
			pairs = append(pairs, name+":"+key(i), value(i))
		}
		if err := client.MSet(ctx, pairs...).Err(); err != nil {
			return fmt.Errorf("fill redis-server: %w", err)
		}
	}
	return nil
}

// check returns an error if the server lacks some of the records, or all. A server that answers nothing is fast.
func (b *bench) check(ctx context.Context, addr string) error {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, Protocol: 2})
	defer client.Close()
	for _, i := range []int{0, b.records / 2, b.records - 1} {
		got, err := client.Get(ctx, name+":"+key(i)).Result()
		if err != nil || got != value(i) {
			return fmt.Errorf("GET %s:%s at %s: %.120q: %w", name, key(i), addr, got, err)
		}
	}
	many, err := client.MGet(ctx, name+":"+key(1), name+":"+key(2)).Result()
	if err != nil || len(many) != 2 || many[0] != value(1) || many[1] != value(2) {
		return fmt.Errorf("MGET at %s: %.300q: %w", addr, many, err)
	}
	return nil
}
