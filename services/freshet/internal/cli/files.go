package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/s3"
	"freshet.dev/services/freshet/internal/exit"
)

// source is one of the inputs of publish, which is opened when it is sent.
type source struct {
	name  string // as given on the command line, or found in a folder
	bytes int64  // -1 if unknown
	// open opens the source. A source that can be opened once, such as standard input, has once set.
	open func() (io.ReadCloser, error)
	once bool
}

// sources are the inputs that the arguments of publish name.
type sources struct {
	all     []source
	buckets []*s3.Bucket
	stdin   bool // - was named
}

// findSources returns the sources that the names stand for, in the order of the names: a file, - for in, all files below a
// folder, an object in S3, or all objects below a prefix in S3. The caller calls close.
func findSources(ctx context.Context, names []string, in io.Reader) (*sources, error) {
	s := &sources{}
	for _, name := range names {
		var err error
		switch {
		case name == "-":
			err = s.addStandardInput(in)
		case strings.HasPrefix(name, "s3://"):
			err = s.addObjects(ctx, name)
		default:
			err = s.addFiles(name)
		}
		if err == nil && len(s.all) > publish.MaxFiles {
			err = exit.Errorf(exit.Usage, "there are more than %d files; put them together into fewer", publish.MaxFiles)
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *sources) close() {
	for _, b := range s.buckets {
		b.Close()
	}
}

func (s *sources) addStandardInput(in io.Reader) error {
	if s.stdin {
		return exit.Errorf(exit.Usage, "- stands for standard input, and comes twice")
	}
	s.stdin = true
	s.all = append(s.all, source{
		name: "standard input", bytes: -1, once: true,
		open: func() (io.ReadCloser, error) { return io.NopCloser(in), nil },
	})
	return nil
}

// addFiles adds the file with the name, or the files below the folder.
func (s *sources) addFiles(name string) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return exit.Errorf(exit.Usage, "there is no file %s; - reads standard input", name)
	case err != nil:
		return exit.With(exit.Usage, err)
	case !info.IsDir():
		s.addFile(name, info)
		return nil
	}
	before := len(s.all)
	// WalkDir goes in the order of the names, and does not follow links to folders.
	err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return exit.With(exit.Usage, err)
		case path != name && hidden(entry.Name()) && entry.IsDir():
			return fs.SkipDir
		case entry.IsDir() || hidden(entry.Name()):
			return nil
		}
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is no regular file; name it as an argument, or take it out of the folder", path)
		}
		if err != nil {
			return exit.With(exit.Usage, err)
		}
		s.addFile(path, info)
		return nil
	})
	if err == nil && len(s.all) == before {
		err = exit.Errorf(exit.Usage, "the folder %s has no file; files whose names begin with . or _ are left out", name)
	}
	return err
}

func (s *sources) addFile(path string, info fs.FileInfo) {
	bytes, once := info.Size(), false
	if !info.Mode().IsRegular() { // a pipe
		bytes, once = -1, true
	}
	s.all = append(s.all, source{name: path, bytes: bytes, once: once, open: func() (io.ReadCloser, error) { return os.Open(path) }})
}

// hidden reports whether a file or folder with the name is left out of a folder: programs keep their own files under such names, as
// Spark does with _SUCCESS.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") }

// addObjects adds the object of the URL, or those below its prefix.
func (s *sources) addObjects(ctx context.Context, rawURL string) error {
	b, err := s3.OpenBucket(rawURL)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	s.buckets = append(s.buckets, b)
	if name := b.Name(); name != "" && !strings.HasSuffix(name, "/") {
		object, err := b.Stat(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			return exit.Errorf(exit.Usage, "there is no object s3://%s/%s; a URL that ends with / stands for all objects below it", b.Bucket(), name)
		}
		if err != nil {
			return exit.With(exit.Usage, err)
		}
		s.addObject(ctx, b, object)
		return nil
	}
	before := len(s.all)
	for object, err := range b.List(ctx, b.Name()) {
		if err != nil {
			return exit.With(exit.Usage, err)
		}
		if below := strings.TrimPrefix(object.Key, b.Name()); !hiddenPath(below) {
			s.addObject(ctx, b, object)
		}
		if len(s.all) > publish.MaxFiles {
			return nil // refused by the caller
		}
	}
	if len(s.all) == before {
		return exit.Errorf(exit.Usage, "there is no object below s3://%s/%s; objects with names that begin with . or _ are left out", b.Bucket(), b.Name())
	}
	return nil
}

// hiddenPath reports whether an object is left out: a part of its path is hidden, or it stands for a folder.
func hiddenPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if hidden(part) {
			return true
		}
	}
	return path == "" || strings.HasSuffix(path, "/")
}

func (s *sources) addObject(ctx context.Context, b *s3.Bucket, object s3.Object) {
	s.all = append(s.all, source{
		name: "s3://" + b.Bucket() + "/" + object.Key, bytes: object.Bytes,
		open: func() (io.ReadCloser, error) { return b.Open(ctx, object.Key) },
	})
}
