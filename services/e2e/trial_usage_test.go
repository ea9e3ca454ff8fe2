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

// usage is the resources that a leak would increase.
type usage struct{ goroutines, files int }

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines and %d files", u.goroutines, u.files)
}

// spare is how much usage may grow after recovery: three connections kept for reuse, each a file and at most two goroutines. It does not
// grow with the number of faults. TestFaultsComeAgainAndAgain and TestFaultDecoderPanics find a leak of one goroutine for each fault.
var spare = usage{goroutines: 6, files: 3}

// programs returns the programs of the trial that must not leak, by name.
func (tr *trial) programs() map[string]*program {
	all := map[string]*program{"publisher": tr.Publisher, "relay": tr.Relay}
	for _, i := range tr.instances {
		all[fmt.Sprintf("instance-%d", i.n)] = i.program
	}
	return all
}

// quiet stops the readers and status queries until end is called, and closes the test's connections to the programs.
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

// measure records the usage of the programs before the fault: the minimum of several samples, because a program may not have noticed yet
// that a connection of the test is closed.
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

// lonely is a client without keep-alive.
var lonely = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

// using returns the current usage of the program.
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

// openFiles returns the number of the process's open files on Linux.
func openFiles(pid string) (int, error) {
	if runtime.GOOS != "linux" {
		return 0, nil
	}
	all, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	return len(all), err
}
