package cachedir

import (
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/internal/guard"
)

// ErrHangs is wrapped by the error of a call while the disk of the folder hangs. The call has done nothing, or goes on without its
// caller and undoes what it did.
var ErrHangs = errors.New("the cache folder hangs")

// errClosed is returned by an operation that begins after Close.
var errClosed = errors.New("the cache folder is closed")

// hang is what is known of operations that take longer than their patience.
type hang struct {
	overdue int           // operations that have not returned in time
	since   time.Time     // when the first of them began
	what    string        // its path
	began   chan struct{} // closed while overdue is above 0
}

// operation is one of the disk, under way.
//
// Its time is measured in two halves, and the second begins when the timer of the first has fired. A process that did not run for a
// while, because it was stopped or had no processor, finds the first timer due and the operation done.
type operation struct {
	dir     *Dir
	path    string
	begun   time.Time
	patient time.Duration
	overdue chan struct{} // closed when the operation has taken longer than patient

	// What follows is guarded by dir.mu.
	timer       *time.Timer
	half, ended bool
	late        bool // it counts as overdue
}

// at begins an operation at path. The caller calls end as soon as the operation has returned. If that takes longer than patient, the
// folder hangs until then.
func (d *Dir) at(path string, patient time.Duration) (end func(), err error) {
	o := d.operation(path, patient)
	return o.end, o.begin()
}

func (d *Dir) operation(path string, patient time.Duration) *operation {
	return &operation{dir: d, path: path, patient: patient, overdue: make(chan struct{})}
}

// begin starts the timer. It fails after Close.
func (o *operation) begin() error {
	d := o.dir
	o.begun = time.Now()
	d.mu.Lock()
	closed, hook := d.closed, d.disk.At
	if !closed {
		o.timer = time.AfterFunc(o.patient/2, o.due)
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

// due is called when the timer fires.
func (o *operation) due() {
	d := o.dir
	d.mu.Lock()
	switch {
	case o.ended:
		d.mu.Unlock()
		return
	case !o.half:
		o.half = true
		o.timer.Reset(o.patient / 2)
		d.mu.Unlock()
		return
	}
	o.late = true
	close(o.overdue)
	d.hang.overdue++
	first := d.hang.overdue == 1
	if first {
		d.hang.since, d.hang.what = o.begun, o.path
		close(d.hang.began)
	}
	d.mu.Unlock()
	if first {
		d.changed()
	}
}

// end is called when the operation has returned.
func (o *operation) end() {
	d := o.dir
	d.mu.Lock()
	o.ended = true
	o.timer.Stop()
	last := false
	if o.late {
		d.hang.overdue--
		if last = d.hang.overdue == 0; last {
			d.hang.began = make(chan struct{})
		}
	}
	d.mu.Unlock()
	if last {
		d.changed()
	}
}

// Watch has changed called when the folder begins to hang, with [Dir.Hangs], and with nil when it hangs no longer. It is called before
// the first use.
func (d *Dir) Watch(changed func(err error)) { d.watch = changed }

func (d *Dir) changed() {
	if d.watch != nil {
		d.watch(d.Hangs())
	}
}

// Hangs says how the folder hangs; nil if it does not.
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
		ErrHangs, d.hang.what, time.Since(d.hang.since).Round(time.Second/10))
}

// Do runs f, which works at the folder. While the folder hangs, Do returns [ErrHangs] at once, and so does a call that is under way:
// f then goes on without its caller, and late, if not nil, gets its result.
func Do[T any](d *Dir, f func() (T, error), late func(T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	d.mu.Lock()
	began := d.hang.began
	d.mu.Unlock()
	select {
	case <-began:
		return none, d.refusal()
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
	case <-began:
		close(abandoned)
		return none, d.refusal()
	}
}

// alone runs f, an operation at path, and returns [ErrHangs] when f takes longer than the patience; f then goes on without its caller.
// Unlike [Do], it does not heed other operations that take longer: it is for a caller whose work is well under way.
func alone[T any](d *Dir, path string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	o := d.operation(path, d.patience())
	done := make(chan result, 1)
	go func() {
		var r result
		if r.err = o.begin(); r.err == nil {
			r.err = guard.Try(func() (err error) { r.value, err = f(); return err })
			o.end()
		}
		done <- r
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-o.overdue:
		var none T
		return none, d.refusal()
	}
}

// refusal returns the error of a call that the folder's hang ended.
func (d *Dir) refusal() error {
	if err := d.Hangs(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s did not answer for a while", ErrHangs, d.root)
}

// do is Do for what returns nothing but an error.
func (d *Dir) do(f func() error) error {
	_, err := Do(d, func() (struct{}, error) { return struct{}{}, f() }, nil)
	return err
}
