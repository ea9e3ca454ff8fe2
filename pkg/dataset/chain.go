package dataset

// Chain returns the objects that an instance without any data loads the version from: the snapshot, then the deltas that
// lead from it to the version. Deltas of the record that end before the snapshot are not part of the chain.
func (r VersionRecord) Chain() []Object {
	return append([]Object{r.Snapshot}, r.DeltasFrom(r.Snapshot.Version)...)
}

// DeltasFrom returns the deltas that lead from the given version to r's, in order. It returns none if the record's deltas
// do not reach back so far, or if version is not before r's. The result aliases r.Deltas.
func (r VersionRecord) DeltasFrom(version uint64) []Object {
	n := uint64(len(r.Deltas))
	if version >= r.Version || r.Version-version > n {
		return nil
	}
	return r.Deltas[n-(r.Version-version):]
}

// OwnDelta returns the delta that leads to r's version from the one before. ok is false if the record names none.
func (r VersionRecord) OwnDelta() (o Object, ok bool) {
	if n := len(r.Deltas); n > 0 {
		return r.Deltas[n-1], true
	}
	return Object{}, false
}

// PullBytes returns the bytes that an instance on the version before pulls: the delta, or the snapshot with its deltas if the record names
// no delta or they are smaller.
func (r VersionRecord) PullBytes() (bytes int64) {
	for _, o := range r.Chain() {
		bytes += o.Bytes
	}
	if own, ok := r.OwnDelta(); ok {
		return min(bytes, own.Bytes)
	}
	return bytes
}
