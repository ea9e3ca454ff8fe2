package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// usage is what a leak would make grow.
type usage struct{ goroutines, files int }

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines and %d files", u.goroutines, u.files)
}

// spare is how much more than before a program may have after it healed: three connections that it keeps for reuse, which another
// moment would find closed; each is a file and at most two goroutines. Nothing in it grows with what happened in between: what leaves
// one goroutine behind each time is found by TestFaultsComeAgainAndAgain and TestFaultDecoderPanics.
var spare = usage{goroutines: 6, files: 3}

// programs returns those of the trial that may not leak, by name.
func (tr *trial) programs() map[string]*program {
	all := map[string]*program{"publisher": tr.Publisher, "relay": tr.Relay}
	for _, i := range tr.instances {
		all[fmt.Sprintf("instance-%d", i.n)] = i.program
	}
	return all
}

// quiet has nobody ask the instances anything until the function that it returns is called, and leaves no connection of the test's
// to any program.
func (tr *trial) quiet() (end func()) {
	for _, i := range tr.instances {
		i.asking.Lock()
	}
	client.CloseIdleConnections()
	return func() {
		for _, i := range tr.instances {
			i.asking.Unlock()
		}
	}
}

// measure keeps what the programs use before the fault: the least in some moments, so that what a connection of the test's took, which
// a program has not noticed yet to be closed, is not in it.
func (tr *trial) measure() {
	tr.t.Helper()
	defer tr.quiet()()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 10 {
		for name, p := range tr.programs() {
			u, err := using(tr.t.Context(), p)
			if err != nil {
				tr.t.Fatal(err)
			}
			if least, ok := tr.before[name]; ok {
				u = usage{min(u.goroutines, least.goroutines), min(u.files, least.files)}
			}
			tr.before[name] = u
		}
		<-tick.C
	}
}

// compare waits until no program uses more than before the fault.
func (tr *trial) compare() {
	tr.t.Helper()
	defer tr.quiet()()
	for name, p := range tr.programs() {
		before := tr.before[name]
		var now usage
		eventually(tr.t, func(ctx context.Context) (err error) {
			now, err = using(ctx, p)
			if err == nil && (now.goroutines > before.goroutines+spare.goroutines+tr.room.goroutines || now.files > before.files+spare.files+tr.room.files) {
				err = fmt.Errorf("%s has %v, and had %v before the fault", name, now, before)
			}
			return err
		})
		tr.t.Logf("%s has %v, and had %v before the fault", name, now, before)
	}
}

// lonely keeps no connection.
var lonely = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

// using returns what the program uses now.
func using(ctx context.Context, p *program) (u usage, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/metrics", nil)
	if err != nil {
		return u, err
	}
	resp, err := lonely.Do(req)
	if err != nil {
		return u, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return u, err
	}
	n, err := metricOf(string(body), "go_goroutines")
	if err != nil {
		return u, err
	}
	files, err := openFiles(strconv.Itoa(p.PID()))
	return usage{int(n), files}, err
}

// openFiles returns how many files the process has open, as far as the system tells: Linux does.
func openFiles(pid string) (int, error) {
	if runtime.GOOS != "linux" {
		return 0, nil
	}
	all, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	return len(all), err
}
