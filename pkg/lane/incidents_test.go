package lane_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/lane"
)

// The tests below replay three incidents for which lanes exist. Each has a judge that counts who waited for whom, and two runs of it: with
// the lane, which must pass, and with the lane taken away, which the judge must refuse.

// run is how a program runs heavy work: in a lane, or as it did in the incident.
type run func(ctx context.Context, f func(context.Context) error) error

// atOnce runs f without a lane.
func atOnce(ctx context.Context, f func(context.Context) error) error { return f(ctx) }

// judged runs the judge with the lane and without it, each in its own bubble.
func judged(t *testing.T, judge func(t *testing.T, with run) error, inLane func() run, without run) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if err := judge(t, inLane()); err != nil {
			t.Errorf("with the lane: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		err := judge(t, without)
		if err == nil {
			t.Error("the judge does not notice that the lane is gone")
		}
		t.Logf("without the lane: %v", err)
	})
}

// Incident 1: a pool of processes multiplied memory. Each worker had a copy of the data that it worked on, and there were as many workers
// as requests. In a lane there are at most as many copies as the lane is wide; of functions that yield, as many as have a place or wait.
func TestIncidentOfTheProcessPool(t *testing.T) {
	const (
		jobs  = 12
		width = 2
		bytes = 4 << 20 // of a copy
	)
	judge := func(t *testing.T, with run) error {
		data := make([]byte, bytes)
		released := make(chan struct{})
		var copies atomic.Int64
		var ended sync.WaitGroup
		before := liveHeap()
		for range jobs {
			ended.Go(func() {
				err := with(t.Context(), func(context.Context) error {
					own := append([]byte(nil), data...)
					copies.Add(1)
					<-released
					runtime.KeepAlive(own)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all jobs work, or wait for the lane
		have, grown := copies.Load(), int64(liveHeap())-int64(before)
		close(released)
		ended.Wait()
		if all := copies.Load(); all != jobs {
			t.Errorf("%d of %d jobs were done", all, jobs)
		}
		if most := int64(width)*bytes + bytes/2; have > width || grown > most {
			return fmt.Errorf("%d jobs had %d copies of the data and %d more bytes on the heap; want at most %d copies and %d bytes", jobs, have, grown, width, most)
		}
		return nil
	}
	judged(t, judge, func() run {
		return lane.New(lane.Config{Name: "cpu", Width: width, Queue: jobs, Wait: time.Hour}).Do
	}, atOnce)
}

// Functions that yield take turns, each with its copy: as many as have a place or wait, however many are called.
func TestCopiesOfFunctionsThatYield(t *testing.T) {
	const (
		jobs  = 40
		width = 2
		queue = 6
	)
	judge := func(t *testing.T, with run) error {
		var copies, most, refused atomic.Int64
		var ended sync.WaitGroup
		for range jobs {
			ended.Go(func() {
				err := with(t.Context(), func(ctx context.Context) error {
					now := copies.Add(1)
					defer copies.Add(-1)
					for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
					}
					for range 50 {
						time.Sleep(time.Millisecond)
						lane.Yield(ctx)
					}
					return nil
				})
				switch {
				case errors.Is(err, lane.ErrShed):
					refused.Add(1)
				case err != nil:
					t.Error(err)
				}
			})
		}
		ended.Wait()
		if most.Load() > width+queue || refused.Load() != jobs-width-queue {
			return fmt.Errorf("%d copies at a time and %d of %d refused; want at most %d copies", most.Load(), refused.Load(), jobs, width+queue)
		}
		return nil
	}
	judged(t, judge, func() run {
		return lane.New(lane.Config{Name: "cpu", Width: width, Queue: queue, Wait: time.Hour}).Do
	}, atOnce)
}

// liveHeap returns the bytes of reachable objects.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// relay answers each request once release has a token for it. Its connections are pipes, so that a bubble sees who waits.
type relay struct {
	release chan struct{}
	served  []string // paths in the order of the answers; used by one test at a time

	mu          sync.Mutex
	connections int // guarded by mu
}

func (r *relay) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	r.mu.Lock()
	r.connections++
	r.mu.Unlock()
	go func() {
		defer server.Close()
		for in := bufio.NewReader(server); ; {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, ok := <-r.release; !ok {
				return
			}
			r.mu.Lock()
			r.served = append(r.served, req.URL.Path)
			r.mu.Unlock()
			if _, err := io.WriteString(server, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// pool sends requests through one pool of connections and counts those that wait for a connection in it.
type pool struct {
	client  *http.Client
	waiting atomic.Int64
}

func newPool(r *relay, connections int) *pool {
	return &pool{client: &http.Client{Transport: &http.Transport{DialContext: r.dial, MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}}}
}

func (p *pool) get(ctx context.Context, path string) error {
	p.waiting.Add(1)
	got := sync.OnceFunc(func() { p.waiting.Add(-1) })
	defer got()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got() }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://relay"+path, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Incident 2: all work shared one pool of connections, with a queue in it that nobody saw. A surge of requests filled the pool, and the
// refresh that came next waited behind all of them. With a lane as wide as the pool nothing waits in the pool, the lane refuses what is too
// much, and freshet's own work comes next.
func TestIncidentOfTheSharedPool(t *testing.T) {
	const (
		connections = 4
		queue       = 6
		surge       = 40
	)
	// refresh is how the program runs its own refresh; nil means as it runs the surge.
	judge := func(t *testing.T, with run, refresh run) error {
		r := &relay{release: make(chan struct{})}
		p := newPool(r, connections)
		defer p.client.CloseIdleConnections()
		var refused, open atomic.Int64
		var ended sync.WaitGroup
		for range surge {
			ended.Go(func() {
				open.Add(1)
				defer open.Add(-1)
				err := with(t.Context(), func(ctx context.Context) error { return p.get(ctx, "/surge") })
				switch refusal := (*lane.ShedError)(nil); {
				case errors.As(err, &refusal) && refusal.RetryAfter > 0:
					refused.Add(1)
				case err != nil:
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ended.Go(func() {
			if err := refresh(t.Context(), func(ctx context.Context) error { return p.get(ctx, "/refresh") }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		inPool, left := p.waiting.Load(), open.Load()
		for range left + 1 { // one answer after the other
			r.release <- struct{}{}
			synctest.Wait()
		}
		ended.Wait()
		close(r.release)
		before := 0 // answers of the surge before that of the refresh
		for before < len(r.served) && r.served[before] != "/refresh" {
			before++
		}
		switch {
		case r.connections > connections:
			return fmt.Errorf("the pool had %d connections, want at most %d", r.connections, connections)
		case inPool > 0:
			return fmt.Errorf("%d requests waited for a connection, %d of the surge were open, and the refresh was answered after %d of them", inPool, left, before)
		case left > connections+queue || refused.Load() != surge-left:
			return fmt.Errorf("%d requests of the surge were open and %d refused; want at most %d", left, refused.Load(), connections+queue)
		case before > connections:
			return fmt.Errorf("the refresh was answered after %d requests of the surge", before)
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		l := lane.New(lane.Config{Name: "io", Width: connections, Queue: queue, Wait: time.Hour})
		own := func(ctx context.Context, f func(context.Context) error) error {
			inside, leave, err := l.Enter(ctx)
			if err != nil {
				return err
			}
			defer leave()
			return f(inside)
		}
		if err := judge(t, l.Do, own); err != nil {
			t.Errorf("with the lane: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		err := judge(t, atOnce, atOnce)
		if err == nil {
			t.Error("the judge does not notice that the lane is gone")
		}
		t.Logf("without the lane: %v", err)
	})
}

// A full I/O lane does not keep work that computes waiting. With one lane for both it would.
func TestAFullLaneDoesNotBlockTheOther(t *testing.T) {
	judge := func(t *testing.T, io, cpu *lane.Lane) error {
		held := make(chan struct{})
		var ended sync.WaitGroup
		for range 4 {
			ended.Go(func() {
				if err := io.Do(t.Context(), func(context.Context) error { <-held; return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		var computed atomic.Bool
		ended.Go(func() {
			if err := cpu.Do(t.Context(), func(context.Context) error { computed.Store(true); return nil }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		during := computed.Load()
		close(held)
		ended.Wait()
		if !during {
			return errors.New("work that computes waited for work that waits for servers")
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		config := lane.Config{Name: "io", Width: 2, Queue: 8, Wait: time.Hour}
		if err := judge(t, lane.New(config), lane.New(config)); err != nil {
			t.Errorf("with two lanes: %v", err)
		}
		one := lane.New(config)
		if judge(t, one, one) == nil {
			t.Error("the judge does not notice that there is one lane for both")
		}
	})
}

// Incident 3: a light computation ran on the loop that answers requests. When its data had tripled, each request that came during it waited
// three times as long. In a lane it runs beside the loop, and no request waits for it, however much data it has.
func TestIncidentOfTheLoop(t *testing.T) {
	const chunk = time.Millisecond // of the computation, between two calls of Yield
	judge := func(t *testing.T, with run) error {
		var waited [2]int
		for i, chunks := range []int{10, 30} { // the data triples
			n, err := requestsThatWait(t, with, chunks, chunk)
			if err != nil {
				return err
			}
			waited[i] = n
		}
		if waited[0] > 0 || waited[1] > 0 {
			return fmt.Errorf("%d requests waited for the computation, and %d when its data had tripled", waited[0], waited[1])
		}
		return nil
	}
	judged(t, judge, func() run {
		l := lane.New(lane.Config{Name: "cpu", Width: 1, Queue: 1, Wait: time.Hour})
		return func(ctx context.Context, f func(context.Context) error) error {
			ended := make(chan error, 1)
			go func() { ended <- l.Do(ctx, f) }() // the loop does not wait
			return nil
		}
	}, atOnce)
}

// requestsThatWait runs a loop that answers requests and begins a computation of so many chunks with the first of them. It returns how many
// requests, of those that came during the computation, got no answer until another came.
func requestsThatWait(t *testing.T, with run, chunks int, chunk time.Duration) (waited int, err error) {
	requests, computed := make(chan chan struct{}, 1000), make(chan struct{})
	loop := make(chan error, 1)
	go func() {
		first := true
		for answer := range requests {
			if first {
				first = false
				err := with(t.Context(), func(ctx context.Context) error {
					defer close(computed)
					for range chunks {
						time.Sleep(chunk) // the computation of a part of the data
						lane.Yield(ctx)
					}
					return nil
				})
				if err != nil {
					loop <- err
					return
				}
			}
			close(answer)
		}
		loop <- nil
	}()
	for during := true; during; {
		answer := make(chan struct{})
		requests <- answer
		time.Sleep(chunk) // until the next request
		synctest.Wait()
		select {
		case <-answer:
		default:
			waited++
		}
		select {
		case <-computed:
			during = false
		default:
		}
	}
	close(requests)
	return waited, <-loop
}
