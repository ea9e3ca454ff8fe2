package cachedir

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"freshet.dev/pkg/dataset"
)

// pinsName is the file with the pins of a dataset.
const pinsName = "pins.json"

// pinsFile is the content of pins.json. Sum is the SHA-256 of Pins, so that a flipped bit cannot release an instance from its pin or pin
// it to another version.
type pinsFile struct {
	Sum  string          `json:"sum"`
	Pins json.RawMessage `json:"pins"`
}

// PinsPath returns the path of the dataset's pins.json.
func (d *Dir) PinsPath(name string) string { return filepath.Join(d.dir(name), pinsName) }

// Pins returns the pins that SetPins wrote. The error is [ErrNone] if there are none, [ErrDamaged], or [ErrHangs].
func (d *Dir) Pins(name string) (dataset.Pins, error) {
	return Do(d, func() (dataset.Pins, error) {
		pins, err := d.pins(name)
		if err != nil && !errors.Is(err, ErrNone) {
			err = fmt.Errorf("read %s: %w", d.PinsPath(name), err)
		}
		return pins, err
	}, nil)
}

func (d *Dir) pins(name string) (dataset.Pins, error) {
	text, err := d.readFile(d.PinsPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return dataset.Pins{}, ErrNone
	}
	if err != nil {
		return dataset.Pins{}, err
	}
	var file pinsFile
	if err := json.Unmarshal(text, &file); err != nil {
		return dataset.Pins{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if sum := sumOfPins(file.Pins); file.Sum != sum {
		return dataset.Pins{}, fmt.Errorf("%w: the file says that its sum is %.80q, its content has the sum %q", ErrDamaged, file.Sum, sum)
	}
	pins, err := dataset.DecodePins(file.Pins, name)
	if err != nil {
		return dataset.Pins{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return pins, nil
}

func sumOfPins(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// SetPins writes the dataset's pins.json atomically, and syncs it and its folder. A call that was abandoned because the disk hung writes
// nothing after a later call. It fails with [ErrShared] while another process holds the folder.
func (d *Dir) SetPins(name string, pins dataset.Pins) error {
	text, err := json.Marshal(pins)
	if err == nil {
		text, err = json.Marshal(pinsFile{sumOfPins(text), text})
	}
	if err == nil {
		w := d.bootWrites(pinsName + "/" + name) // the writes of this file; no dataset has a slash in its name
		call := w.calls.Add(1)
		err = d.do(func() error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if call < w.last {
				return nil
			}
			w.last = call
			return d.setPins(name, text)
		})
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d.PinsPath(name), err)
	}
	return nil
}

func (d *Dir) setPins(name string, text []byte) error {
	if err := d.own(); err != nil {
		return err
	}
	if err := d.mkdir(d.dir(name)); err != nil {
		return err
	}
	file, err := d.createTemp(name)
	if err != nil {
		return err
	}
	defer d.releaseTemp(file.Name())
	err = d.write(file, text)
	if err = errors.Join(err, d.syncClose(file)); err == nil {
		err = d.rename(file.Name(), d.PinsPath(name))
	}
	if err != nil {
		_ = d.remove(file.Name())
		return err
	}
	return d.sync(d.dir(name))
}
