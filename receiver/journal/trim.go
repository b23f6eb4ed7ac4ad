package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// totalsEvery is how many entries a start may have to count at most, about.
	totalsEvery = 4096
	// reclaimEvery is how many trimmed bytes are worth a look at what of them
	// is still on disk, and reclaimWorth how many must be.
	reclaimEvery = 16 << 20
	reclaimWorth = 4 << 20
)

// trimState is what trimming remembers.
type trimState struct {
	low    uint64 // nothing is left up to here
	bytes  int64  // trimmed since space was reclaimed
	oldest uint64 // seq of the oldest entry, 0: not known
}

// Trim forgets entries that are told. It is safe to repeat, also for those
// that are gone, and it isn't synced: after a crash some may be there again.
func (j *Journal) Trim(seqs ...uint64) error {
	if !j.open.enter() {
		return ErrClosed
	}
	defer j.open.leave()
	if len(seqs) == 0 {
		return nil
	}
	seqs = slices.Clone(seqs)
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)

	j.trimMu.Lock()
	defer j.trimMu.Unlock()
	b := j.db.NewBatch()
	var entries, bytes int64
	err := j.eachEntry(seqs, func(seq uint64, size int) error {
		entries++
		bytes += int64(max(size-entryHeader, 0))
		if seq == j.trim.oldest {
			j.trim.oldest = 0
		}
		return b.DeleteSized(seqKey(prefixEntry, seq), uint32(size), nil)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("trim the journal: %w", err), b.Close())
	}
	forgotten := j.guard.forget(seqs)
	for _, seq := range forgotten {
		if err := b.Delete(seqKey(prefixDeaths, seq), nil); err != nil {
			return errors.Join(fmt.Errorf("trim the journal: %w", err), b.Close())
		}
	}
	if entries == 0 && len(forgotten) == 0 {
		return b.Close()
	}
	if err := b.Set([]byte{prefixTotals}, j.window.trimmed(entries, bytes).value(), nil); err != nil {
		return errors.Join(fmt.Errorf("trim the journal: %w", err), b.Close())
	}
	j.commit(b, pebble.NoSync)
	j.bytes.Add(-bytes)
	j.full.Store(false)
	j.trim.bytes += bytes
	return j.afterTrim()
}

// eachEntry calls fn with those of the sorted seqs that are there and readable
// by now, and the size of their values. That of a damaged one is 0.
func (j *Journal) eachEntry(seqs []uint64, fn func(seq uint64, size int) error) error {
	upTo := j.window.totals().upTo
	it, err := j.db.NewIter(&pebble.IterOptions{
		LowerBound: seqKey(prefixEntry, seqs[0]),
		UpperBound: seqKey(prefixEntry, min(seqs[len(seqs)-1], upTo)+1),
	})
	if err != nil {
		return err
	}
	defer it.Close()
	at := uint64(0) // where the iterator is, 0: nowhere
	for _, seq := range seqs {
		if seq > upTo {
			break
		}
		if at < seq || at == 0 {
			ok := false
			if at != 0 && at+1 == seq {
				ok = it.Next()
			} else {
				ok = it.SeekGE(seqKey(prefixEntry, seq))
			}
			switch {
			case ok:
				at = seqOf(it.Key())
			case pebble.IsCorruptionError(it.Error()):
				at = 0
				if err := j.damagedEntry(seq, fn); err != nil {
					return err
				}
				continue
			default:
				return it.Error() // nil: nothing is left
			}
		}
		if at == seq {
			v := it.LazyValue()
			if err := fn(seq, v.Len()); err != nil {
				return err
			}
		}
	}
	return nil
}

// damagedEntry does eachEntry's work for one entry that lies where the
// iterator can't read.
func (j *Journal) damagedEntry(seq uint64, fn func(seq uint64, size int) error) error {
	v, err := j.get(seqKey(prefixEntry, seq))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil
	case err == nil, pebble.IsCorruptionError(err):
		return fn(seq, len(v))
	default:
		return err
	}
}

// afterTrim forgets a suspect range that is told, and has space reclaimed.
func (j *Journal) afterTrim() error {
	if j.trim.bytes >= reclaimEvery {
		j.nudge()
	}
	suspect, ok := j.guard.suspected()
	if !ok {
		return nil
	}
	first, _, err := j.firstEntry()
	if err != nil || first <= suspect {
		return nil //nolint:nilerr // it stays suspect
	}
	b := j.db.NewBatch()
	if err := b.Delete([]byte{prefixSuspect}, nil); err != nil {
		return errors.Join(fmt.Errorf("trim the journal: %w", err), b.Close())
	}
	j.commit(b, pebble.NoSync)
	j.guard.acquit()
	return nil
}

// reclaim gives back the space of trimmed entries if it is worth it: most of
// them never reach a table. A deletion alone would wait for a
// compaction to rewrite the tables; this cuts them out.
func (j *Journal) reclaim(worth uint64) error {
	j.trimMu.Lock()
	first, _, err := j.firstEntry()
	if err == nil {
		j.trim.bytes = 0
	}
	j.trimMu.Unlock()
	if err != nil {
		return fmt.Errorf("reclaim space: %w", err)
	}
	all := pebble.KeyRange{Start: []byte{prefixEntry}, End: seqKey(prefixEntry, first)}
	use, err := j.db.EstimateDiskUsage(all.Start, all.End)
	if err != nil {
		return fmt.Errorf("reclaim space: %w", err)
	}
	if use < worth {
		return nil
	}
	// What is cut out is gone whatever happens, so the trims and the totals
	// that belong to it must be durable before.
	j.noteTotals(pebble.Sync)
	if err := j.db.Excise(context.Background(), all); err != nil {
		return fmt.Errorf("reclaim space: %w", err)
	}
	return nil
}

// firstEntry returns the first entry that is left and when it arrived. If none
// is left, it returns the zero time and a sequence number that no entry before
// has or had.
func (j *Journal) firstEntry() (seq uint64, at time.Time, err error) {
	// Taken once: what is appended meanwhile must not count as gone.
	end := j.window.totals().upTo + 1
	it, err := j.db.NewIter(&pebble.IterOptions{
		LowerBound: seqKey(prefixEntry, j.trim.low+1),
		UpperBound: seqKey(prefixEntry, end),
	})
	if err != nil {
		return 0, time.Time{}, err
	}
	defer it.Close()
	if !it.First() {
		if err := it.Error(); err != nil {
			return 0, time.Time{}, err
		}
		j.trim.low = end - 1
		return end, time.Time{}, nil
	}
	v, err := it.ValueAndErr()
	if err != nil || len(v) < entryHeader {
		return 0, time.Time{}, errors.Join(ErrDamaged, err)
	}
	seq = seqOf(it.Key())
	j.trim.low = seq - 1
	return seq, entryTime(v), nil
}

// oldest returns when the oldest entry arrived, zero if it can't be read. It
// doesn't wait for a trim, which may wait for a full disk: then it returns
// what it returned before.
func (j *Journal) oldest() time.Time {
	if j.trimMu.TryLock() {
		defer j.trimMu.Unlock()
		if j.trim.oldest == 0 {
			seq, at, err := j.firstEntry()
			if err == nil && !at.IsZero() {
				j.trim.oldest = seq
			}
			j.oldestAt.Store(&at)
		}
	}
	if at := j.oldestAt.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// noteTotals bounds what a start has to count while nothing is trimmed.
func (j *Journal) noteTotals(opt *pebble.WriteOptions) {
	j.trimMu.Lock()
	defer j.trimMu.Unlock()
	b := j.db.NewBatch()
	if err := b.Set([]byte{prefixTotals}, j.window.totals().value(), nil); err != nil {
		j.die(fmt.Errorf("fill a batch: %w", err))
	}
	j.commit(b, opt)
}
