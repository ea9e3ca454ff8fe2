package segments

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// segment is a multiple of the page size of every system.
const segment = 64 << 10

// origin is a store of objects in memory that counts reads.
type origin struct {
	objects map[dataset.Digest][]byte
	opens   atomic.Int64
	stats   atomic.Int64
	// read, if not nil, is called for each OpenObject and may replace its answer.
	read func(offset int64, b []byte) (io.ReadCloser, error)
}

func newOrigin() *origin { return &origin{objects: make(map[dataset.Digest][]byte)} }

func (o *origin) add(n int) (dataset.Digest, []byte) {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(len(o.objects))})
	_, _ = r.Read(b)
	d := dataset.Digest(sha256.Sum256(b))
	o.objects[d] = b
	return d, b
}

var errMissing = errors.New("missing")

func (o *origin) StatObject(_ context.Context, d dataset.Digest) (int64, error) {
	o.stats.Add(1)
	b, ok := o.objects[d]
	if !ok {
		return 0, errMissing
	}
	return int64(len(b)), nil
}

func (o *origin) OpenObject(_ context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	o.opens.Add(1)
	part := o.objects[d][offset : offset+length]
	if o.read != nil {
		return o.read(offset, part)
	}
	return io.NopCloser(bytes.NewReader(part)), nil
}

func newCache(t *testing.T, o Origin, segments int) *Cache {
	t.Helper()
	c, err := New(Config{
		Bytes: int64(segments) * segment, SegmentBytes: segment, TTL: time.Minute, OriginReads: 2,
		OriginTimeout: 10 * time.Second, BusyWait: time.Second,
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if n := c.arena.inUse(); n != 0 {
			t.Errorf("%d buffers are in use after Close", n)
		}
	})
	return c
}

func readAll(ctx context.Context, c *Cache, d dataset.Digest) ([]byte, error) {
	size, err := c.Size(ctx, d)
	if err != nil {
		return nil, err
	}
	var got []byte
	for i := int64(0); i*segment < size; i++ {
		s, err := c.Segment(ctx, d, size, i)
		if err != nil {
			return nil, err
		}
		got = append(got, s.Bytes()...)
		s.Release()
	}
	return got, nil
}

func TestObjectsComeBackWhole(t *testing.T) {
	o := newOrigin()
	c := newCache(t, o, 16)
	for _, n := range []int{1, segment - 1, segment, segment + 1, 5*segment + 7} {
		d, want := o.add(n)
		for range 2 {
			if got, err := readAll(t.Context(), c, d); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("object of %d bytes: got %d bytes, %v", n, len(got), err)
			}
		}
	}
	if s := c.Stats(); s.Fills != 11 || s.Hits != 11 || s.OriginBytes != 1+segment-1+segment+segment+1+5*segment+7 || o.stats.Load() != 5 {
		t.Errorf("%+v, %d stats", s, o.stats.Load())
	}
}

// Many clients, more data than budget, hang-ups: every byte is right and no buffer is lost.
func TestStormOverTheBudget(t *testing.T) {
	o := newOrigin()
	c := newCache(t, o, 32)
	var digests []dataset.Digest
	for _, n := range []int{segment / 2, 3 * segment, 20 * segment, 100*segment + 1} {
		d, _ := o.add(n)
		digests = append(digests, d)
	}
	var wg sync.WaitGroup
	for worker := range 24 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 100 {
				d := digests[r.IntN(len(digests))]
				want := o.objects[d]
				size, err := c.Size(t.Context(), d)
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(4) == 0 {
					time.AfterFunc(time.Duration(r.IntN(100))*time.Microsecond, cancel)
				}
				i := r.Int64N((size + segment - 1) / segment)
				s, err := c.Segment(ctx, d, size, i)
				switch {
				case err == nil:
					if !bytes.Equal(s.Bytes(), want[i*segment:min(size, (i+1)*segment)]) {
						t.Errorf("wrong bytes in segment %d of an object of %d", i, size)
					}
					s.Release()
				case !errors.Is(err, context.Canceled):
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Resident > s.Budget || s.Budget != 32*segment {
		t.Errorf("%+v", s)
	}
}

func TestConcurrentCallersShareOneFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		d, want := o.add(segment)
		o.read = func(_ int64, b []byte) (io.ReadCloser, error) {
			<-time.After(time.Second)
			return io.NopCloser(bytes.NewReader(b)), nil
		}
		c := newCache(t, o, 16)
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if got, err := readAll(t.Context(), c, d); err != nil || !bytes.Equal(got, want) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			})
		}
		wg.Wait()
		if s := c.Stats(); o.opens.Load() != 1 || o.stats.Load() != 1 || s.Joined != 199 {
			t.Errorf("%d opens, %d stats, %+v", o.opens.Load(), o.stats.Load(), s)
		}
	})
}

func TestUnknownObjectIsNotRemembered(t *testing.T) {
	o := newOrigin()
	c := newCache(t, o, 16)
	d := dataset.Digest(sha256.Sum256([]byte("x")))
	if _, err := c.Size(t.Context(), d); !errors.Is(err, errMissing) {
		t.Errorf("error is %v", err)
	}
	o.objects[d] = []byte("x")
	if n, err := c.Size(t.Context(), d); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestUnusedSegmentsLeaveAndTheirMemoryToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		hot, _ := o.add(segment)
		cold, _ := o.add(4 * segment)
		c := newCache(t, o, 16)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.Run(ctx) })
		if _, err := readAll(ctx, c, cold); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			if _, err := readAll(ctx, c, hot); err != nil {
				t.Fatal(err)
			}
			<-time.After(10 * time.Second)
		}
		if s := c.Stats(); s.Evicted != 4 || s.Resident != segment || s.Fills != 5 {
			t.Errorf("after two minutes: %+v", s)
		}
		stop()
		wg.Wait()
	})
}

func TestASmallHotObjectSurvivesAPassOverALargeOne(t *testing.T) {
	o := newOrigin()
	hot, _ := o.add(segment)
	large, want := o.add(1000 * segment)
	c := newCache(t, o, 64) // an LRU would evict the hot object before each of its reads
	for i := range int64(1000) {
		s, err := c.Segment(t.Context(), large, int64(len(want)), i)
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
		if i%100 == 50 {
			if _, err := readAll(t.Context(), c, hot); err != nil {
				t.Fatal(err)
			}
		}
	}
	if again := o.opens.Load() - 1000 - 1; again > 2 {
		t.Errorf("the hot object was read again %d times of 9", again)
	}
}

func TestConfigTooSmall(t *testing.T) {
	for _, cfg := range []Config{
		{Bytes: 7 * segment, SegmentBytes: segment, OriginReads: 1},
		{Bytes: 100 * segment, SegmentBytes: segment, OriginReads: 26},
		{Bytes: 100 * segment, SegmentBytes: segment},
	} {
		if _, err := New(cfg, newOrigin()); err == nil || !strings.Contains(err.Error(), "too small") {
			t.Errorf("%+v: error is %v", cfg, err)
		}
	}
}
