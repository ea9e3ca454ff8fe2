package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/redact"
)

var (
	// ErrNotFound: the store has no such object, version or dataset.
	ErrNotFound = errors.New("not in the store")
	// ErrExists: the version is taken, by a record of whatever content. Somebody else committed first. Or it has a
	// snapshot record already.
	ErrExists = errors.New("the version exists already")
	// ErrGap: the version is not the next one: the one before it does not exist.
	ErrGap = errors.New("the version would leave a gap")
	// ErrRange: the range asked for is not within the object.
	ErrRange = errors.New("range outside of the object")
	// ErrMismatch: the bytes given to PutObject do not have the digest or size given with them.
	ErrMismatch = errors.New("content does not match its digest and size")
	// ErrDamaged: what lies in the store is not what was put there. The message names the place.
	ErrDamaged = errors.New("damaged in the store")
	// ErrURL: the URL of the store is malformed, or something it needs is not set.
	ErrURL = errors.New("not the URL of a store")
	// ErrMissing is returned by OpenExisting when the store's folder does not exist.
	ErrMissing = errors.New("the store's folder does not exist")
	// ErrUnknown is returned when the store did not answer whether it has created a version record. The record may be there, or
	// appear later: a cancelled request can still arrive.
	ErrUnknown = errors.New("it is not known whether it is committed")
	// ErrUnusable: the store is there but cannot be used as one, for example because its server ignores conditional
	// writes or its file system has no hard links. Trying again does not help.
	ErrUnusable = errors.New("cannot be used as a store")
)

// Store keeps objects, version records and snapshot records. Its methods may be called concurrently, by any number of processes on the
// same store. Errors that wrap none of this package's sentinels (a network that fails, a disk that is full, a context
// that ended) may pass when tried again.
type Store interface {
	// PutObject stores the bytes that r yields to its end, which must be of the given size and digest, else
	// ErrMismatch. An object that is there already is left alone, and r is then not read. On an error r may have
	// been read in part.
	PutObject(ctx context.Context, digest dataset.Digest, bytes int64, r io.Reader) error
	// RepairObject is PutObject for an object in doubt. It reads what the store has under that name to its end, which costs
	// as much as the object is large. If those bytes have the size and the digest, it leaves them alone and does not read r.
	// Else it puts those of r in their place, in one step, and reports true. Readers that are open go on as they were.
	RepairObject(ctx context.Context, digest dataset.Digest, bytes int64, r io.Reader) (replaced bool, err error)
	// Place returns where the object lies, or would: the path of a file, or the key in a bucket. Messages that name an
	// object name its place too.
	Place(digest dataset.Digest) string
	// OpenObject returns the object's bytes from offset on, length of them; a negative length means to the end. It
	// fails with ErrNotFound, or with ErrRange if the object does not have all of them. The reader yields exactly
	// those bytes or an error, must be closed, and is for one goroutine; ctx has to last until then. Its bytes are
	// as the disk or the network gave them: who needs to know checks the digest. If it implements [io.WriterTo], use
	// that (by [io.Copy]): a file's bytes then go to a socket without passing through the process. A file's reader
	// implements [io.ReaderAt] too.
	OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error)
	// StatObject returns the object's size, or ErrNotFound.
	StatObject(ctx context.Context, digest dataset.Digest) (bytes int64, err error)
	// PutVersion commits a version. It fails with ErrExists or ErrGap unless the version is the one after the
	// newest, and with ErrUnknown if it may have committed it. The objects that it names must be in the store before; PutVersion
	// does not look for them.
	PutVersion(ctx context.Context, rec dataset.VersionRecord) error
	// Version returns one version's record, or ErrNotFound, or a [*RecordError].
	Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error)
	// Latest returns the newest version's record, or ErrNotFound if the dataset has none, or ErrDamaged.
	Latest(ctx context.Context, name string) (dataset.VersionRecord, error)
	// Versions returns the records of versions below before (0: from the newest on), newest first, at most limit of
	// them (0 or less: all). It returns none for a dataset that has none. Damaged records count for limit and are left out:
	// the error is then a [RecordErrors], and all others of the versions come with it. With another error come the records that
	// are newer than the one that failed.
	Versions(ctx context.Context, name string, before uint64, limit int) ([]dataset.VersionRecord, error)
	// PutSnapshot stores a snapshot record. It fails with ErrExists if there is one for that version. The object that
	// it names must be in the store before; PutSnapshot does not look for it, nor for the version.
	PutSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error
	// RepairSnapshot stores a snapshot record in the place of the one that is there, in one step. It is for a damaged record: a
	// reader finds the old one or the new one.
	RepairSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error
	// NewestSnapshot returns the snapshot record of the highest version above after, up to upTo, or ErrNotFound if there
	// is none, or ErrDamaged. A high after makes it cheap.
	NewestSnapshot(ctx context.Context, name string, after, upTo uint64) (dataset.SnapshotRecord, error)
	// PutClaim stores a claim. It fails with ErrExists if there is one for that version.
	PutClaim(ctx context.Context, c dataset.Claim) error
	// NewestClaim returns the claim of the highest version above after, up to upTo, or ErrNotFound if there is none, or ErrDamaged.
	NewestClaim(ctx context.Context, name string, after, upTo uint64) (dataset.Claim, error)
	// DropClaim removes the claim of the version if there is one.
	DropClaim(ctx context.Context, name string, version uint64) error
	// Datasets returns the names of the datasets that have a version, in order.
	Datasets(ctx context.Context) ([]string, error)
	// ID returns the id of the store as it is now, or ErrNotFound if it has none yet, or ErrDamaged. It reads the store each time:
	// a store can be replaced by another under the same URL.
	ID(ctx context.Context) (dataset.StoreID, error)
	// EnsureID returns the id of the store. If it has none, it takes the one that the version records name, and draws one if
	// they name none. Of concurrent calls one draws.
	EnsureID(ctx context.Context) (dataset.StoreID, error)
	// IDPlace returns where the store id lies, RecordPlace where the version record lies, SnapshotPlace where the snapshot record
	// of the version lies: the path of a file, or the key in a bucket.
	IDPlace() string
	RecordPlace(name string, version uint64) string
	SnapshotPlace(name string, version uint64) string
	// Newest returns the newest version of every dataset that has one, and is made to be called every few seconds: it looks
	// at nothing but whether there is a newer version than it knew of. That a store was replaced by an older copy of
	// itself it may notice only a minute later. Datasets whose newest version could not be found out are in unread, with
	// why; err says that not even the datasets could be listed.
	//
	// A call that ctx ends begins with other datasets than the one before: repeated calls get round to all datasets, however slow
	// the store is.
	Newest(ctx context.Context) (newest map[string]dataset.Ref, unread map[string]error, err error)
	// String returns the store's URL, without secrets.
	String() string
	// Close releases what Open acquired. Readers from OpenObject stay usable.
	Close() error
}

// Open opens the store at rawURL and looks whether it is there: ctx bounds that look, not the store's life.
//
// dir:///abs/path and dir://rel/path name a folder, which is created when missing. What cannot stand in a URL (space,
// %, ?, #) is percent-encoded, and a relative path with such begins with ./ (dir://./my%20data).
//
// s3://bucket/prefix names a bucket, which must exist, and what all keys begin with. The credentials come from
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or where those are not set from
// AWS_WEB_IDENTITY_TOKEN_FILE or the AWS_CONTAINER_CREDENTIALS_* variables. The query may name:
//   - endpoint: the server, as http://host:port or https://host; Amazon's if missing.
//   - region: if missing, AWS_REGION, then AWS_DEFAULT_REGION, then us-east-1 for a named endpoint; Amazon is asked.
//   - path-style: whether the bucket stands in the path (true) or in the host name (false); guessed if missing.
func Open(ctx context.Context, rawURL string) (Store, error) { return openURL(ctx, rawURL, true) }

// OpenExisting is Open for those that only read: it does not make a folder, and fails with [ErrMissing] if there is none.
func OpenExisting(ctx context.Context, rawURL string) (Store, error) {
	return openURL(ctx, rawURL, false)
}

func openURL(ctx context.Context, rawURL string, create bool) (Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error quotes parts of the URL, which may hold a password.
		return nil, fmt.Errorf("%w: it cannot be parsed; want dir:///path or s3://bucket/prefix, with %%25 for a %%", ErrURL)
	}
	switch u.Scheme {
	case "dir":
		return openDir(u, create)
	case "s3":
		return openS3(ctx, u)
	default:
		return nil, fmt.Errorf("%w: %q begins with neither dir:// nor s3://; for the folder ./data write dir://data",
			ErrURL, redact.URL(u))
	}
}
