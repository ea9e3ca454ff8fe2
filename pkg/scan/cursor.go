package scan

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/table"
)

// ErrCursor is returned when a cursor is of a dataset with another seed: of another dataset, or of a dataset that was created again.
var ErrCursor = errors.New("the cursor is no position of this dataset; begin again without a cursor")

// position is what a cursor holds.
type position struct {
	version uint64
	seed    [8]byte // see seedMark
	key     []byte  // of the last record that was read
}

// seedMark names a seed without telling it: who knows the seed can make keys that share a hash.
func seedMark(t *table.Table) (mark [8]byte) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("freshet scan cursor "), t.Seed()))
	copy(mark[:], sum[:])
	return mark
}

const cursorFormat = 1

func (p position) String() string {
	b := binary.AppendUvarint([]byte{cursorFormat}, p.version)
	b = append(append(b, p.seed[:]...), p.key...)
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(text string) (p position, err error) {
	bad := fmt.Errorf("%.40q is no cursor of an earlier scan", text)
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 || b[0] != cursorFormat {
		return p, bad
	}
	version, n := binary.Uvarint(b[1:])
	if n <= 0 || len(b) < 1+n+len(p.seed) {
		return p, bad
	}
	b = b[1+n:]
	p = position{version: version, key: b[len(p.seed):]}
	copy(p.seed[:], b)
	if dataset.CheckKey(p.key) != nil {
		return p, bad
	}
	return p, nil
}
