package schemas

// Entry is what a bucket of the key-value store has under a key. Its revision
// grows with every change of anything in the bucket.
type Entry struct {
	Key      string // tokens of [A-Za-z0-9_=-], with dots between them
	Value    []byte
	Revision uint64
}

// Put is a change of a key that holds only if nobody else changed it since.
type Put struct {
	Key   string
	Value []byte
	Base  uint64 // the revision that the key has; 0: it has none
}
