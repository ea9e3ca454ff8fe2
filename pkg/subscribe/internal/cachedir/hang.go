package cachedir

import (
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/internal/guard"
)

// ErrHangs is returned by a call while the disk of the folder hangs. The call did nothing, or it continues in the background and undoes its
// work.
var ErrHangs = errors.New("the cache folder hangs")

// errClosed is returned by an operation that starts after Close.
var errClosed = errors.New("the cache folder is closed")

// hang describes the operations that take longer than their patience.
type hang struct {
	overdue int           // the number of operations that have not returned in time
	since   time.Time     // the start of the first of them
	path    string        // the path of the first of them
	started chan struct{} // closed while overdue is above 0
}

// operation is a disk operation in flight.
//
// Its patience is measured in two halves. The timer of the second half starts when the timer of the first one fires. If the process was
// stopped, or had no processor for a while, only the first timer is due when the process continues, and the operation returns in the
// second half.
type operation struct {
	dir      *Dir
	path     string
	started  time.Time
	patience time.Duration
	overdue  chan struct{} // closed when the operation takes longer than patience

	// dir.mu guards the fields below.
	timer       *time.Timer
	half, ended bool
	isOverdue   bool
}

// startOperation starts an operation at path. The caller calls end as soon as the operation has returned. After patience the folder hangs
// until end is called.
func (d *Dir) startOperation(path string, patience time.Duration) (end func(), err error) {
	o := d.newOperation(path, patience)
	return o.end, o.start()
}

func (d *Dir) newOperation(path string, patience time.Duration) *operation {
	return &operation{dir: d, path: path, patience: patience, overdue: make(chan struct{})}
}

// start starts the timer. It fails after Close.
func (o *operation) start() error {
	d := o.dir
	o.started = time.Now()
	d.mu.Lock()
	closed, hook := d.closed, d.disk.At
	if !closed {
		o.timer = time.AfterFunc(o.patience/2, o.due)
	}
	d.mu.Unlock()
	if closed {
		return errClosed
	}
	if hook != nil {
		hook(o.path)
	}
	return nil
}

// due runs when the timer fires.
func (o *operation) due() {
	d := o.dir
	d.mu.Lock()
	switch {
	case o.ended:
		d.mu.Unlock()
		return
	case !o.half:
		o.half = true
		o.timer.Reset(o.patience / 2)
		d.mu.Unlock()
		return
	}
	o.isOverdue = true
	close(o.overdue)
	d.hang.overdue++
	first := d.hang.overdue == 1
	if first {
		d.hang.since, d.hang.path = o.started, o.path
		close(d.hang.started)
	}
	d.mu.Unlock()
	if first {
		d.changed()
	}
}

// end records that the operation has returned.
func (o *operation) end() {
	d := o.dir
	d.mu.Lock()
	o.ended = true
	o.timer.Stop()
	last := false
	if o.isOverdue {
		d.hang.overdue--
		if last = d.hang.overdue == 0; last {
			d.hang.started = make(chan struct{})
		}
	}
	d.mu.Unlock()
	if last {
		d.changed()
	}
}

// Watch sets changed to be called with [Dir.Hangs] when the folder starts to hang, and with nil when it no longer hangs. Watch must be
// called before the first use.
func (d *Dir) Watch(changed func(err error)) { d.watch = changed }

func (d *Dir) changed() {
	if d.watch != nil {
		d.watch(d.Hangs())
	}
}

// Hangs returns an error that wraps [ErrHangs] and names the overdue operation; nil if the folder does not hang.
func (d *Dir) Hangs() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hang.overdue == 0 {
		return nil
	}
	return fmt.Errorf("%w: an operation at %s has not returned for %s; versions go past the folder until it does",
		ErrHangs, d.hang.path, time.Since(d.hang.since).Round(time.Second/10))
}

// Do runs f, which uses the folder. If the folder hangs, or starts to hang while f runs, Do returns [ErrHangs]. A running f then continues,
// and late, if not nil, receives its result.
func Do[T any](d *Dir, f func() (T, error), late func(T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var zero T
	d.mu.Lock()
	hangs := d.hang.started
	d.mu.Unlock()
	select {
	case <-hangs:
		return zero, d.hangError()
	default:
	}
	done, abandoned := make(chan result), make(chan struct{})
	go func() {
		var r result
		r.err = guard.Try(func() (err error) { r.value, err = f(); return err })
		select {
		case done <- r:
		case <-abandoned:
			if late != nil {
				_ = guard.Try(func() error { late(r.value, r.err); return nil })
			}
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-hangs:
		close(abandoned)
		return zero, d.hangError()
	}
}

// runTimed runs f, an operation at path, and returns [ErrHangs] if f takes longer than the patience. f then continues. Unlike [Do],
// runTimed ignores other operations that hang. It is for a caller that has done most of its work.
func runTimed[T any](d *Dir, path string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	o := d.newOperation(path, d.patience())
	done := make(chan result, 1)
	go func() {
		var r result
		if r.err = o.start(); r.err == nil {
			r.err = guard.Try(func() (err error) { r.value, err = f(); return err })
			o.end()
		}
		done <- r
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-o.overdue:
		var zero T
		return zero, d.hangError()
	}
}

// hangError returns the error of a call that ended because the folder hangs.
func (d *Dir) hangError() error {
	if err := d.Hangs(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s did not answer for a while", ErrHangs, d.root)
}

// do is Do for a function that returns only an error.
func (d *Dir) do(f func() error) error {
	_, err := Do(d, func() (struct{}, error) { return struct{}{}, f() }, nil)
	return err
}
