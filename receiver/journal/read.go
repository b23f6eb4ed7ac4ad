package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed75441868/postern/handlers"
)

// Entry is a delivery in the journal.
type Entry struct {
	Seq      uint64
	Delivery handlers.Delivery
	Sealed   []byte // the delivery as it goes to POSTERN_RAW
	// Err says that the entry is there but can't be read: it is damaged, or
	// its key is missing. Delivery is then empty, and Sealed too if not even
	// that could be read. Such an entry stays until it is trimmed.
	Err error
}

// Read returns the entries behind the sequence number after, in order, without
// leaving one out: at least one and at most maxEntries, and no more than
// maxBytes of sealed deliveries unless the first alone has more. It waits
// until there is one, ctx ends, or the journal is closed. Entries come again
// until they are trimmed.
func (j *Journal) Read(ctx context.Context, after uint64, maxEntries, maxBytes int) ([]Entry, error) {
	if !j.open.enter() {
		return nil, ErrClosed
	}
	defer j.open.leave()
	for {
		upTo, wake := j.window.after(after)
		if wake != nil {
			if err := j.wait(ctx, wake); err != nil {
				return nil, err
			}
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := reader{j: j, upTo: upTo, maxEntries: max(maxEntries, 1), maxBytes: maxBytes}
		if err := r.read(after + 1); err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		if len(r.entries) > 0 {
			return r.entries, nil
		}
		after = upTo // all trimmed
	}
}

type reader struct {
	j          *Journal
	upTo       uint64
	maxEntries int
	maxBytes   int
	entries    []Entry
	bytes      int
}

// read collects entries from seq on. What can't be read is collected as such.
func (r *reader) read(seq uint64) error {
	it, err := r.j.db.NewIter(&pebble.IterOptions{
		LowerBound: seqKey(prefixEntry, seq),
		UpperBound: seqKey(prefixEntry, r.upTo+1),
	})
	if err == nil {
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				break // it.Error says so too
			}
			if !r.add(seqOf(it.Key()), v) {
				return it.Close()
			}
			seq = seqOf(it.Key()) + 1
		}
		err = errors.Join(it.Error(), it.Close())
	}
	if pebble.IsCorruptionError(err) {
		return r.probe(seq)
	}
	return err
}

// probe asks for one entry after the other where a damaged block keeps the
// iterator from going on. One that can't be told from a damaged one counts as
// damaged, since it may be there.
func (r *reader) probe(seq uint64) error {
	for ; seq <= r.upTo && len(r.entries) < r.maxEntries; seq++ {
		v, err := r.j.get(seqKey(prefixEntry, seq))
		switch {
		case errors.Is(err, pebble.ErrNotFound):
		case pebble.IsCorruptionError(err):
			r.entries = append(r.entries, Entry{Seq: seq, Err: fmt.Errorf("%w: %w", ErrDamaged, err)})
		case err != nil:
			return err
		case !r.add(seq, v):
			return nil
		}
	}
	return nil
}

// add opens an entry. It returns false if the entry did not fit any more.
func (r *reader) add(seq uint64, value []byte) bool {
	if len(value) < entryHeader {
		r.entries = append(r.entries, Entry{Seq: seq, Err: fmt.Errorf("%w: entry without a header", ErrDamaged)})
		return len(r.entries) < r.maxEntries
	}
	sealed := entrySealed(value)
	if len(r.entries) > 0 && r.bytes+len(sealed) > r.maxBytes {
		return false
	}
	e := Entry{Seq: seq, Sealed: append(make([]byte, 0, len(sealed)), sealed...)}
	e.Delivery, e.Err = r.j.keys.OpenDelivery(e.Sealed)
	r.entries = append(r.entries, e)
	r.bytes += len(sealed)
	return len(r.entries) < r.maxEntries
}

func seqOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:]) }
