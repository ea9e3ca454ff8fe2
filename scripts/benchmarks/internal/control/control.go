// Package control runs parts of this program as processes that obey commands: one JSON object a line on the standard input, one on the
// standard output for each answer. The process ends with its input, and so with its parent.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"freshet.dev/pkg/servertest/footprint"
)

// Process is a process that obeys commands. It is not safe for concurrent use.
type Process struct {
	cmd   *exec.Cmd
	meter *footprint.Meter
	in    io.WriteCloser
	out   *json.Decoder
}

// endsWithin is how long a process may take to end after its input.
const endsWithin = 20 * time.Second

// Start runs this program with the arguments, and more environment. The caller calls Stop.
func Start(ctx context.Context, env []string, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.CommandContext(ctx, self, args...), meter: footprint.New()}
	p.cmd.Stderr, p.cmd.WaitDelay = os.Stderr, endsWithin
	p.cmd.Env = append(os.Environ(), env...)
	p.meter.Wrap(p.cmd)
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	p.in, p.out = in, json.NewDecoder(bufio.NewReader(out))
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, p.meter.Close())
	}
	p.meter.Watch(p.cmd.Process.Pid)
	return p, nil
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Peak returns the peak of the process's memory so far, as the kernel counts it.
func (p *Process) Peak() (footprint.Peak, error) { return p.meter.Peak() }

// answer is a line of the output.
type answer struct {
	Result json.RawMessage
	Error  string
}

// Call sends a command and decodes its result.
func (p *Process) Call(command, result any) error {
	line, err := json.Marshal(command)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("command %s: %w", line, err)
	}
	var a answer
	if err := p.out.Decode(&a); err != nil {
		return fmt.Errorf("read the answer to %s: %w", line, err)
	}
	if a.Error != "" {
		return fmt.Errorf("command %s: %s", line, a.Error)
	}
	return json.Unmarshal(a.Result, result)
}

// Stop ends the process and waits for its end. It kills the process if that takes too long.
func (p *Process) Stop() error {
	err := p.in.Close()
	late := time.AfterFunc(endsWithin, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	return errors.Join(err, p.cmd.Wait(), p.meter.Close())
}

// Serve obeys the commands of in, one after the other, until in ends.
func Serve[C any](ctx context.Context, in io.Reader, out io.Writer, obey func(context.Context, C) (any, error)) error {
	commands, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var command C
		switch err := commands.Decode(&command); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		var a answer
		result, err := obey(ctx, command)
		if err == nil {
			a.Result, err = json.Marshal(result)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}
