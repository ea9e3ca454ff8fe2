package cachedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Stored is a cached version, opened. Its files stay readable when a later version takes their place.
type Stored struct {
	Held
	// Objects are those of the Chain. Their content is not verified.
	Objects []*os.File
}

// Close closes the objects.
func (s *Stored) Close() error {
	var errs []error
	for _, f := range s.Objects {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Stored opens the cached version of the dataset. It fails with [ErrNone] when there is none and with [ErrDamaged]
// when what is there can be seen to be no whole version.
func (d *Dir) Stored(name string) (*Stored, error) {
	s, err := d.open(name)
	// Without the lock, the process that has it may have put a newer version in between.
	if errors.Is(err, fs.ErrNotExist) {
		s, err = d.open(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, err
}

func (d *Dir) open(name string) (*Stored, error) {
	held, err := d.Held(name)
	if err != nil {
		return nil, err
	}
	s := &Stored{Held: held}
	for _, o := range held.Chain {
		if err := s.add(d.object(name, o.Digest), o.Bytes); err != nil {
			s.Close()
			return nil, fmt.Errorf("open version %s in the cache folder: %w", held.Record.ID(), err)
		}
	}
	return s, nil
}

func (s *Stored) add(path string, bytes int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	s.Objects = append(s.Objects, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != bytes {
		return fmt.Errorf("%w: %s has %d bytes instead of %d", ErrDamaged, path, info.Size(), bytes)
	}
	return nil
}
