package resp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/table"
)

// Dataset is a dataset that the port serves.
type Dataset interface {
	// Table returns the version that is served now, nil before the first.
	Table() *table.Table
	// VersionID returns the id of the version that is served now, zero before the first.
	VersionID() dataset.VersionID
	// Deleted returns the record of the version that deletes the dataset; ok is false if it is not deleted.
	Deleted() (rec dataset.VersionRecord, ok bool)
}

// served is a dataset with its name.
type served struct {
	Dataset
	name   string
	number int // in Port.sorted
}

// open returns the version of the dataset that the running command reads: the one that is served now. Its error is the reply.
func (d *served) open() (*table.Table, error) {
	t := d.Table()
	if t != nil && t.Len() > 0 {
		return t, nil
	}
	rec, deleted := d.Deleted()
	switch {
	case deleted && (t == nil || rec.Dropped):
		return nil, replyError(fmt.Sprintf("NODATASET dataset %s is %s, and this instance has no records of it", d.name, rec.DeletedText()))
	case t == nil:
		return nil, replyError(fmt.Sprintf("LOADING no version of dataset %s is served here yet; freshet status and /v1/status say why", d.name))
	}
	return t, nil
}

// replyError is an error with the text of its reply.
type replyError string

func (e replyError) Error() string { return string(e) }

// split returns the dataset of the key that a client names, and the key of the record. Its error is the reply.
func (p *Port) split(key []byte) (*served, []byte, error) {
	i := bytes.IndexByte(key, ':')
	if i < 0 {
		return nil, nil, replyError(fmt.Sprintf("NODATASET the key %.80q has no colon: want dataset:key, and a dataset of %s", key, p.names))
	}
	d := p.datasets[string(key[:i])]
	if d == nil {
		return nil, nil, p.noDataset(key[:i])
	}
	return d, key[i+1:], nil
}

func (p *Port) noDataset(name []byte) error {
	return replyError(fmt.Sprintf("NODATASET this instance does not have dataset %.80q; it has %s; FRESHET_DATASETS lists its datasets", name, p.names))
}

// shownNames is the largest number of datasets that an error lists.
const shownNames = 20

func listed(names []string) string {
	if len(names) > shownNames {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shownNames], ", "), len(names)-shownNames)
	}
	return strings.Join(names, ", ")
}

// find returns the version and the key of the record that a client names with key. The session of the client learns of the key before. Its
// error is the reply.
func (x *executor) find(c *conn, key []byte) (*table.Table, []byte, error) {
	d, record, err := x.port.split(key)
	if err != nil {
		return nil, nil, err
	}
	if c.session != nil && c.session.Tracking() {
		c.session.Read(key)
	}
	t, err := d.open()
	return t, record, err
}

// lookupAll looks up the records that a client names with keys, those of a dataset in one version, and returns their values; nil for none. The
// values are valid until the command's end. Its error is the reply.
func (x *executor) lookupAll(c *conn, keys [][]byte) ([][]byte, error) {
	if c.session != nil && c.session.Tracking() { // before the first version is opened; see Session.Read
		for _, key := range keys {
			if _, _, err := x.port.split(key); err != nil {
				return nil, err
			}
			c.session.Read(key)
		}
	}
	x.keys = x.keys[:0]
	x.values = slices.Grow(x.values, len(keys))[:len(keys)]
	var from opened
	first := 0 // of the neighbouring keys of one dataset
	for i, key := range keys {
		d, record, err := x.port.split(key)
		if err != nil {
			return nil, err
		}
		if d != from.served {
			if i > 0 {
				from.table.GetMany(x.keys[first:], x.values[first:])
			}
			first = i
			if from, err = x.openOnce(d); err != nil {
				return nil, err
			}
		}
		x.keys = append(x.keys, record)
	}
	from.table.GetMany(x.keys[first:], x.values[first:])
	return x.values, nil
}

// openOnce returns the version of d that the running command reads.
func (x *executor) openOnce(d *served) (opened, error) {
	for _, o := range x.opened {
		if o.served == d {
			return o, nil
		}
	}
	t, err := d.open()
	if err != nil {
		return opened{}, err
	}
	o := opened{d, t}
	x.opened = append(x.opened, o)
	return o, nil
}
