package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	guardName = "guard"
	guardSize = 20 // from, to, checksum
)

// guard remembers which entries are being normalized in a place that outlives
// the process: the page cache, by a plain write. A power cut may lose it; that
// isn't the entry's fault.
type guard struct {
	f vfs.File

	mu     sync.Mutex
	deaths map[uint64]int
	from   uint64 // the suspect range; to 0: none
	to     uint64
}

// openGuard opens the file of the marker, which has its block from the
// beginning, so that a full disk can't keep it from being written.
func openGuard(files vfs.FS, dir string, log *slog.Logger) (*guard, error) {
	f, err := files.OpenReadWrite(files.PathJoin(dir, guardName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	g := &guard{f: f, deaths: make(map[uint64]int)}
	var b [guardSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	sum := binary.BigEndian.Uint32(b[16:])
	switch {
	case n < guardSize || b == [guardSize]byte{}:
		if err := g.clear(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if err := f.Sync(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	case sum != crc32.Checksum(b[:16], castagnoli):
		log.Warn("the marker of what was being normalized is damaged and left aside")
	default:
		g.from, g.to = binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	}
	return g, nil
}

func (g *guard) set(from, to uint64) error {
	var b [guardSize]byte
	binary.BigEndian.PutUint64(b[:], from)
	binary.BigEndian.PutUint64(b[8:], to)
	binary.BigEndian.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
	_, err := g.f.WriteAt(b[:], 0)
	return err
}

func (g *guard) clear() error {
	_, err := g.f.WriteAt(make([]byte, guardSize), 0)
	return err
}

func (g *guard) close() error { return g.f.Close() }

// forget drops the deaths at entries that are told, and returns which had any.
func (g *guard) forget(seqs []uint64) []uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.deaths) == 0 {
		return nil
	}
	var had []uint64
	for _, seq := range seqs {
		if _, ok := g.deaths[seq]; ok {
			delete(g.deaths, seq)
			had = append(had, seq)
		}
	}
	return had
}

// suspected returns the end of the suspect range, if there is one.
func (g *guard) suspected() (to uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.to, g.to != 0
}

func (g *guard) acquit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.from, g.to = 0, 0
}

// Guard says that the entries from one to another are about to be normalized.
// If the process dies before Unguard, that counts as a death at that entry, if
// it is one, and makes all of them suspect otherwise. It takes a microsecond.
func (j *Journal) Guard(from, to uint64) error {
	if !j.open.enter() {
		return ErrClosed
	}
	defer j.open.leave()
	if from == 0 || to < from {
		return fmt.Errorf("guard entries: %d to %d is no range", from, to)
	}
	if err := j.guard.set(from, to); err != nil {
		return fmt.Errorf("guard entries: %w", err)
	}
	return nil
}

// Unguard says that it went well. Close says so too: who closes the journal in
// order has not died.
func (j *Journal) Unguard() error {
	if !j.open.enter() {
		return ErrClosed
	}
	defer j.open.leave()
	if err := j.guard.clear(); err != nil {
		return fmt.Errorf("unguard entries: %w", err)
	}
	return nil
}

// Deaths returns how often the process died while exactly this entry was
// guarded. It is forgotten when the entry is trimmed.
func (j *Journal) Deaths(seq uint64) int {
	j.guard.mu.Lock()
	defer j.guard.mu.Unlock()
	return j.guard.deaths[seq]
}

// Suspect reports whether the process died while this entry was guarded, alone
// or among others, so that it should be taken alone.
func (j *Journal) Suspect(seq uint64) bool {
	j.guard.mu.Lock()
	defer j.guard.mu.Unlock()
	return j.guard.deaths[seq] > 0 || j.guard.to != 0 && j.guard.from <= seq && seq <= j.guard.to
}

// recoverDeaths reads what is known of deaths and adds what the marker says of
// the last one.
func (j *Journal) recoverDeaths() error {
	g := j.guard
	from, to := g.from, g.to
	g.from, g.to = 0, 0
	if err := j.readDeaths(); err != nil {
		return err
	}
	if to == 0 {
		return nil
	}
	b := j.db.NewBatch()
	if from == to {
		// It may have died after it had trimmed the entry.
		switch _, err := j.get(seqKey(prefixEntry, from)); {
		case err == nil, pebble.IsCorruptionError(err):
			g.deaths[from]++
			err = b.Set(seqKey(prefixDeaths, from), binary.AppendUvarint(nil, uint64(g.deaths[from])), nil)
			if err != nil {
				return err
			}
		case !errors.Is(err, pebble.ErrNotFound):
			return err
		}
	} else {
		if g.to != 0 {
			from, to = min(from, g.from), max(to, g.to)
		}
		g.from, g.to = from, to
		v := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, from), to)
		if err := b.Set([]byte{prefixSuspect}, v, nil); err != nil {
			return err
		}
	}
	if b.Empty() {
		if err := b.Close(); err != nil {
			return err
		}
	} else {
		j.commit(b, pebble.Sync)
	}
	return g.clear()
}

func (j *Journal) readDeaths() error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixDeaths}, UpperBound: []byte{prefixDeaths + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			break // it.Error says so too
		}
		n, _ := binary.Uvarint(v)
		j.guard.deaths[seqOf(it.Key())] = int(n)
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	v, err := j.get([]byte{prefixSuspect})
	switch {
	case err == nil && len(v) == 16:
		j.guard.from, j.guard.to = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
	case err != nil && !errors.Is(err, pebble.ErrNotFound):
		return err
	}
	return nil
}
