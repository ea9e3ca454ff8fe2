package store

import (
	"context"
	"errors"
	"io"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/internal/verify"
)

var (
	// ErrNotFound is returned when the store has no such object, version or dataset.
	ErrNotFound = errors.New("not in the store")
	// ErrExists is returned when the version is taken, whatever its content: another publisher committed first. It is also returned when
	// a version has a snapshot record or a claim already, and when the number of a journal entry is taken.
	ErrExists = errors.New("the version exists already")
	// ErrGap is returned when the version, or the journal entry, is not the next one, because the one before it does not exist.
	ErrGap = errors.New("the version would leave a gap")
	// ErrRange is returned when the requested range is not within the object.
	ErrRange = errors.New("range outside of the object")
	// ErrMismatch is returned when the bytes passed to PutObject do not have the digest or size passed with them.
	ErrMismatch = verify.ErrMismatch
	// ErrDamaged is returned when the content in the store is not the content that was written. The message names the place.
	ErrDamaged = errors.New("damaged in the store")
	// ErrURL is returned when the URL of the store is malformed, or when the environment lacks a setting that the URL needs.
	ErrURL = errors.New("not the URL of a store")
	// ErrMissing is returned when a store is opened for reading and its folder does not exist.
	ErrMissing = errors.New("the store's folder does not exist")
	// ErrUnknown is returned when the store did not confirm whether it created a version record or a journal entry. It may exist, or may
	// appear later: a cancelled request can still arrive.
	ErrUnknown = errors.New("it is not known whether it is committed")
	// ErrUnusable is returned when the store exists but cannot work as one. Examples are a server that ignores conditional writes and a
	// file system without hard links. A retry does not help.
	ErrUnusable = errors.New("cannot be used as a store")
)

// Store keeps objects, version records, snapshot records and journals. Its methods are safe for concurrent use, and any number of processes may
// use one store. A call that fails with an error that wraps none of this package's sentinels may succeed when retried: the network
// failed, the disk is full, the context ended.
type Store interface {
	// PutObject stores the bytes that r yields until its end. They must have the given size and digest, else PutObject fails with
	// ErrMismatch. PutObject keeps an existing object of that size, and then does not read r. After an error r may be partly read.
	PutObject(ctx context.Context, digest dataset.Digest, bytes int64, r io.Reader) error
	// RepairObject is PutObject for an object that may be damaged. It reads the existing object to its end, which costs time in
	// proportion to its size. If those bytes have the size and the digest, it keeps the object and does not read r. Otherwise it
	// atomically replaces the object with the bytes of r, and returns true. Open readers keep reading the replaced object.
	RepairObject(ctx context.Context, digest dataset.Digest, bytes int64, r io.Reader) (replaced bool, err error)
	// ObjectPlace returns the location of the object, whether it exists or not: the path of a file, or the key in a bucket. Messages that
	// name an object name its place too.
	ObjectPlace(digest dataset.Digest) string
	// OpenObject returns length bytes of the object from offset on; a negative length means to the end. It fails with ErrNotFound, or
	// with ErrRange if the object does not have all of these bytes.
	//
	// The reader yields exactly those bytes or an error. The caller must close it, must use it from one goroutine, and must keep ctx
	// alive until then. The bytes are not verified: a caller that needs to trust them checks the digest. If the reader implements
	// [io.WriterTo], use that (with [io.Copy]): the bytes of a file then go to a socket without passing through the process. The reader
	// of a file also implements [io.ReaderAt].
	OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error)
	// StatObject returns the object's size, or ErrNotFound.
	StatObject(ctx context.Context, digest dataset.Digest) (bytes int64, err error)
	// PutVersion commits a version. It fails with ErrExists or ErrGap unless the version is the one after the newest, and with
	// ErrUnknown if it may have committed the version. The objects that the record names must be in the store first; PutVersion does
	// not check that.
	PutVersion(ctx context.Context, rec dataset.VersionRecord) error
	// Version returns the record of one version, or ErrNotFound, or a [*RecordError].
	Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error)
	// Latest returns the record of the newest version, or ErrNotFound if the dataset has none, or ErrDamaged.
	Latest(ctx context.Context, name string) (dataset.VersionRecord, error)
	// Versions returns the records of at most limit versions below before, newest first. A before of 0 starts at the newest version; a
	// limit of 0 or less returns all. A dataset without versions has no records. Damaged records count toward limit and are left out:
	// the error is then a [RecordErrors], and the records of all other versions are returned with it. With any other error, Versions
	// returns the records that are newer than the one that failed.
	Versions(ctx context.Context, name string, before uint64, limit int) ([]dataset.VersionRecord, error)
	// PutSnapshot stores a snapshot record. It fails with ErrExists if the version has one. The object that the record names must be in
	// the store first; PutSnapshot checks neither that nor the version.
	PutSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error
	// RepairSnapshot atomically replaces a snapshot record, for example a damaged one: a reader sees the old record or the new one.
	RepairSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error
	// NewestSnapshot returns the snapshot record of the highest version above after, up to upTo. It fails with ErrNotFound if there is
	// none, or with ErrDamaged. A high after makes the call cheap.
	NewestSnapshot(ctx context.Context, name string, after, upTo uint64) (dataset.SnapshotRecord, error)
	// PutClaim stores a claim. It fails with ErrExists if the version has one.
	PutClaim(ctx context.Context, c dataset.Claim) error
	// NewestClaim returns the claim of the highest version above after, up to upTo. It fails with ErrNotFound if there is none, or with
	// ErrDamaged.
	NewestClaim(ctx context.Context, name string, after, upTo uint64) (dataset.Claim, error)
	// DropClaim removes the claim of the version, if the version has one.
	DropClaim(ctx context.Context, name string, version uint64) error
	// PutEntry adds an entry to the journal of its dataset, which may have no version. It fails with ErrExists or ErrGap unless the entry
	// is the one after the newest, and with ErrUnknown if it may have added the entry.
	PutEntry(ctx context.Context, e dataset.Entry) error
	// Entry returns one journal entry, or ErrNotFound, or an [*EntryError].
	Entry(ctx context.Context, name string, number uint64) (dataset.Entry, error)
	// NewestEntry returns the number of the newest journal entry, 0 if the dataset has no journal. The entry itself may be damaged.
	NewestEntry(ctx context.Context, name string) (uint64, error)
	// Entries returns the journal entries from the number from on, oldest first, at most limit; a limit of 0 or less returns all. Damaged
	// entries count toward limit and are left out: the error is then an [EntryErrors], and all other entries are returned with it. With
	// any other error, Entries returns the entries that are older than the one that failed.
	Entries(ctx context.Context, name string, from uint64, limit int) ([]dataset.Entry, error)
	// Journals returns the sorted names of the datasets that have a journal entry, with or without versions.
	Journals(ctx context.Context) ([]string, error)
	// EntryPlace returns the location of a journal entry.
	EntryPlace(name string, number uint64) string
	// Datasets returns the sorted names of the datasets that have a version.
	Datasets(ctx context.Context) ([]string, error)
	Collection

	// ID returns the id of the store, or ErrNotFound if it has none yet, or ErrDamaged. ID reads the store at each call, because another
	// store may replace the store under the same URL.
	ID(ctx context.Context) (dataset.StoreID, error)
	// EnsureID returns the id of the store. If the store has none, EnsureID writes the id that the version records name, or a random id
	// if they name none. Concurrent calls agree on one id.
	EnsureID(ctx context.Context) (dataset.StoreID, error)
	// IDPlace returns the location of the store id: the path of a file, or the key in a bucket.
	IDPlace() string
	// RecordPlace returns the location of a version record.
	RecordPlace(name string, version uint64) string
	// SnapshotPlace returns the location of a version's snapshot record.
	SnapshotPlace(name string, version uint64) string
	// Newest returns the newest version of every dataset that has one. It is cheap enough to be called every few seconds, because it
	// checks only whether a version newer than the known one exists. So Newest may take up to a minute to notice that an older copy
	// has replaced the store. The map unread has the datasets whose newest version could not be read, each with its error; err is
	// returned when the datasets cannot be listed.
	//
	// A call after one that ctx ended starts with other datasets. So repeated calls reach all datasets, however slow the store is.
	// While 16 reads hang, no other dataset is read.
	Newest(ctx context.Context) (newest map[string]dataset.Ref, unread map[string]error, err error)
	// String returns the store's URL, without secrets.
	String() string
	// Close releases the resources of the store. Open readers of objects stay usable.
	Close() error
}
