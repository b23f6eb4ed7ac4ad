package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// ErrIndexDamaged says that something of the index can't be read any more. All
// of it is on the bus, too: after [Index.Drop] it is mirrored anew.
var ErrIndexDamaged = errors.New("the index is damaged")

// damage notes that a read of the index failed for good, and wraps its error.
// It passes other errors as they are.
func (x *Index) damage(err error) error {
	if !pebble.IsCorruptionError(err) {
		return err
	}
	x.j.indexDamaged.Store(true)
	return fmt.Errorf("%w: %w", ErrIndexDamaged, err)
}

// broken notes that something of the index is not what was written.
func (x *Index) broken() error {
	x.j.indexDamaged.Store(true)
	return ErrIndexDamaged
}

// Damaged reports whether something of the index was found damaged since it was
// dropped.
func (x *Index) Damaged() bool { return x.j.indexDamaged.Load() }

// Drop forgets all that any stream told, without reading it, so that it also
// forgets what can't be read. Then every stream is mirrored from its beginning.
// Deliveries and claims stay as they are. It is safe to repeat, and a crash
// midway leaves positions that are nobody's; who finds one resets.
func (x *Index) Drop() error {
	if !x.j.open.enter() {
		return ErrClosed
	}
	defer x.j.open.leave()
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.j.db.NewBatch()
	for stream := range x.streams {
		if err := b.Set([]byte{prefixPosition, stream}, Position{}.value(), nil); err != nil {
			return errors.Join(fmt.Errorf("drop the index: %w", err), b.Close())
		}
	}
	// Synced: after a power cut nobody may take an empty index for one that
	// knows what was told.
	x.j.commit(b, pebble.Sync)
	for _, m := range x.streams {
		*m = mirror{noted: make(map[uint64]struct{})}
	}
	from, to := []byte{prefixTold}, []byte{prefixToldSeq + 1}
	// Excised tables are gone at once, and no compaction reads them again. What
	// is at the edge of a table that holds more than the index may be what is
	// damaged: then a mark must do, which hides what is behind it.
	if err := x.j.db.Excise(context.Background(), pebble.KeyRange{Start: from, End: to}); err != nil {
		x.j.log.Warn("the index can't be cut out of its files and is hidden in them", "error", err)
		b := x.j.db.NewBatch()
		if err := b.DeleteRange(from, to, nil); err != nil {
			return errors.Join(fmt.Errorf("drop the index: %w", err), b.Close())
		}
		x.j.commit(b, pebble.Sync)
	}
	x.j.indexDamaged.Store(false)
	return nil
}

// isIndex reports whether a damaged file holds nothing but the index: then the
// index is damaged, whoever found it, also if nobody ever reads it there. The
// version of the format, which may be in the same file, was read at the start.
func isIndex(info pebble.DataCorruptionInfo) bool {
	start, end := info.Bounds.Start, info.Bounds.End.Key
	return len(start) > 0 && len(end) > 0 && start[0] >= prefixFormat && end[0] <= prefixToldSeq &&
		end[0] >= prefixTold
}
