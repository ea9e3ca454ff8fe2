package cachedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Stored is an open cached version. Its files stay readable after a later version replaces them.
type Stored struct {
	Held
	// Objects are the objects of the Chain up to the first one that is missing or has another size. Their content is not verified. They
	// include at least the snapshot.
	Objects []*Object
	// Broken is the error about the first object that is not in Objects; nil if Objects is complete.
	Broken error

	dir *Dir
}

// Close closes the objects. It does not wait for a disk that hangs.
func (s *Stored) Close() error {
	if len(s.Objects) == 0 {
		return nil
	}
	closeAll := func() (struct{}, error) {
		var errs []error
		for _, f := range s.Objects {
			errs = append(errs, f.close())
		}
		return struct{}{}, errors.Join(errs...)
	}
	_, err := runTimed(s.dir, s.Objects[0].Name(), closeAll)
	if errors.Is(err, errClosed) {
		_, err = closeAll()
	}
	return err
}

// Stored opens the cached version of the dataset. It fails with [ErrNone] if there is none, and with [ErrDamaged] if the record or the
// snapshot is lost. If a delta is lost, Stored opens the objects before it.
func (d *Dir) Stored(name string) (*Stored, error) {
	return Do(d, func() (*Stored, error) { return d.stored(name) }, func(s *Stored, err error) {
		if err == nil {
			s.Close()
		}
	})
}

func (d *Dir) stored(name string) (*Stored, error) {
	s, err := d.open(name)
	// The process that holds the folder may have committed a newer version in between.
	if err == nil && errors.Is(s.Broken, fs.ErrNotExist) {
		s.Close()
		s, err = d.open(name)
	}
	if err != nil {
		return nil, err
	}
	if s.Broken != nil && len(s.Objects) == 0 {
		s.Close()
		return nil, fmt.Errorf("open version %s in the cache folder: %w", s.Record.ID(), s.Broken)
	}
	return s, nil
}

func (d *Dir) open(name string) (*Stored, error) {
	held, err := d.read(name)
	if err != nil {
		return nil, err
	}
	s := &Stored{Held: held, dir: d}
	for _, o := range held.Chain {
		err := s.add(d, d.object(name, o.Digest), o.Bytes)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if errors.Is(err, ErrDamaged) {
			s.Broken = err
			break
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("open version %s in the cache folder: %w", held.Record.ID(), err)
		}
	}
	return s, nil
}

func (s *Stored) add(d *Dir, path string, bytes int64) error {
	f, err := d.openFile(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	info, err := op(d, path, f.Stat)
	if err == nil && info.Size() != bytes {
		err = fmt.Errorf("%w: %s has %d bytes instead of %d", ErrDamaged, path, info.Size(), bytes)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.Objects = append(s.Objects, &Object{file: f, dir: d, size: int(max(1, min(writeBuffer, bytes)))})
	return nil
}
