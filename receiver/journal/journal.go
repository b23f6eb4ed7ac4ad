// Package journal keeps what was accepted until it has been told.
//
// Append returns once a delivery is fsynced, and only then may a sender be
// answered. The relay reads the deliveries in order, tells them, and trims
// them. In the same store, which is Pebble and which nobody else knows of, lie
// the claims that make a repeat known as one, and the index of what was told.
//
// All of a delivery is sealed on disk; ids are there only as hashes.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Errors that say why a journal can't be opened or doesn't take a delivery.
// None of them loses anything that was accepted.
var (
	// ErrFull says that as many bytes wait to be told as are allowed.
	ErrFull = errors.New("the journal is full")
	// ErrDiskLow says that less of the disk is free than must remain.
	ErrDiskLow = errors.New("the disk is low")
	// ErrClosed says that the journal was closed.
	ErrClosed = errors.New("the journal is closed")
	// ErrInUse says that another process has opened the folder.
	ErrInUse = errors.New("the journal is in use by another process")
)

// Config says where a journal is and what it may use.
type Config struct {
	Dir string // made if it isn't there
	// MaxBytes is how many sealed bytes of entries that aren't trimmed there
	// may be.
	MaxBytes int64
	// Reserve is how many bytes of the disk must remain free.
	Reserve int64
	Keys    *Keyring
	Log     *slog.Logger
	// Fatal is called once when a write or sync failed for good. It must end
	// the process: whoever waits for the disk then waits for ever, because
	// nobody may be told that anything is durable. If it is nil, the error is
	// logged and the process exits with 1.
	Fatal func(error)
}

// Journal is an open journal. Its methods are safe for concurrent use.
type Journal struct {
	db    *pebble.DB
	lock  *pebble.Lock
	keys  *Keyring
	log   *slog.Logger
	disk  *disk
	notes *synced
	index *Index
	// indexDamaged is whether something of the index can't be read.
	indexDamaged atomic.Bool
	guard        *guard

	window  *window
	flights flights
	claims  *filter
	open    gate

	maxBytes int64
	bytes    atomic.Int64 // sealed, not trimmed, including what is under way
	full     atomic.Bool  // the last delivery found no room, and none was made since

	trimMu sync.Mutex
	trim   trimState // guarded by trimMu

	oldestAt atomic.Pointer[time.Time] // when the oldest entry arrived, as last seen

	fatalOnce sync.Once
	fatal     func(error)
	dead      chan struct{} // closed when a write failed for good

	stop     chan struct{} // ends housekeeping and readers
	stopped  chan struct{}
	kick     chan struct{} // asks housekeeping to note the totals
	sweepPos sweepState
}

// Open opens the journal in c.Dir, or makes one. It recovers what a crash has
// left, which takes a second for tens of thousands of entries at most. It
// fails with ErrInUse, or with ErrDamaged if something is not there any more
// that was durable; then it has changed nothing.
//
// On a disk without any room it waits until there is some.
func Open(c Config) (*Journal, error) { return open(c, vfs.Default) }

func open(c Config, files vfs.FS) (_ *Journal, err error) {
	j := &Journal{
		keys: c.Keys, log: c.Log, fatal: c.Fatal, maxBytes: c.MaxBytes,
		dead: make(chan struct{}), stop: make(chan struct{}), stopped: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	if j.fatal == nil {
		j.fatal = func(err error) {
			j.log.Error("the journal failed for good; the process ends, and nothing that was accepted is lost", "error", err)
			os.Exit(1)
		}
	}
	j.claims = newFilter(prefixClaim)
	if err := files.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	var undo []func() error
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]() //nolint:errcheck // the first error is the one to tell
			}
		}
	}()

	if j.lock, err = pebble.LockDirectory(c.Dir, files); err != nil {
		return nil, fmt.Errorf("open journal: %w: %s: end the other process, or give this one another data_dir (%w)", ErrInUse, c.Dir, err)
	}
	undo = append(undo, j.lock.Close)
	j.disk = newDisk(files, c.Dir, c.Reserve, c.Log)
	if j.notes, err = openSynced(files, c.Dir, c.Log); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	undo = append(undo, j.notes.close)
	if j.guard, err = openGuard(files, c.Dir, c.Log); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	undo = append(undo, j.guard.close)

	j.db, err = pebble.Open(c.Dir, j.engineOptions(&watchedFS{FS: files, synced: j.notes, fatal: j.die}, j.lock))
	if err == nil {
		undo = append(undo, j.db.Close)
		err = j.recover()
	}
	if pebble.IsCorruptionError(err) {
		return nil, fmt.Errorf("open journal: %w: restore %s from a copy (%w)", ErrDamaged, c.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	go j.disk.run()
	go j.housekeep()
	return j, nil
}

// recover reads what the journal must know of itself.
func (j *Journal) recover() error {
	if err := j.checkFormat(); err != nil {
		return err
	}
	sum, err := j.countEntries()
	if err != nil {
		return err
	}
	j.window = newWindow(sum)
	j.bytes.Store(sum.bytes)
	if j.index, err = openIndex(j); err != nil {
		return err
	}
	return j.recoverDeaths()
}

func (j *Journal) checkFormat() error {
	v, err := j.get([]byte{prefixFormat})
	if errors.Is(err, pebble.ErrNotFound) {
		return j.db.Set([]byte{prefixFormat}, []byte{formatVersion}, pebble.Sync)
	}
	if err != nil {
		return err
	}
	if len(v) != 1 || v[0] != formatVersion {
		return errors.New("it was written by a newer version of Postern: start that one")
	}
	return nil
}

// countEntries takes the last noted totals and counts what came after them.
func (j *Journal) countEntries() (totals, error) {
	var sum totals
	v, err := j.get([]byte{prefixTotals})
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return totals{}, err
	}
	if err == nil {
		var ok bool
		if sum, ok = readTotals(v); !ok {
			return totals{}, fmt.Errorf("%w: its totals", ErrDamaged)
		}
	}
	it, err := j.db.NewIter(&pebble.IterOptions{
		LowerBound: seqKey(prefixEntry, sum.upTo+1),
		UpperBound: []byte{prefixEntry + 1},
	})
	if err != nil {
		return totals{}, err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v := it.LazyValue()
		sum.count(seqOf(it.Key()), v.Len())
	}
	err = it.Error()
	if pebble.IsCorruptionError(err) {
		err = j.countDamaged(&sum)
	}
	return sum, err
}

// countDamaged goes on counting one by one where the iterator can't. What is
// damaged is there for Read to tell of; the rest must not wait for it.
func (j *Journal) countDamaged(sum *totals) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixEntry}, UpperBound: []byte{prefixEntry + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	if !it.Last() {
		return fmt.Errorf("count entries: %w", it.Error())
	}
	last := seqOf(it.Key())
	for seq := sum.upTo + 1; seq <= last; seq++ {
		v, err := j.get(seqKey(prefixEntry, seq))
		switch {
		case errors.Is(err, pebble.ErrNotFound):
		case err == nil, pebble.IsCorruptionError(err):
			sum.count(seq, max(len(v), entryHeader))
		default:
			return err
		}
	}
	return nil
}

// get returns a copy of the value of key.
func (j *Journal) get(key []byte) ([]byte, error) {
	v, closer, err := j.db.Get(key)
	if err != nil {
		return nil, err
	}
	v = append(make([]byte, 0, len(v)), v...)
	return v, closer.Close()
}

// commit writes b. It returns only if that worked: synced if opt says so.
// Pebble panics where it can't go on, and a caller that recovers from panics,
// as HTTP servers do, would make a half-dead process of that.
func (j *Journal) commit(b *pebble.Batch, opt *pebble.WriteOptions) {
	defer func() {
		if r := recover(); r != nil {
			j.die(fmt.Errorf("commit: %v", r))
		}
	}()
	if err := b.Commit(opt); err != nil {
		j.die(fmt.Errorf("commit: %w", err))
	}
	b.Close() // only hands its memory back
}

// die ends the process and never returns, whatever Config.Fatal does.
func (j *Journal) die(err error) {
	j.fatalOnce.Do(func() {
		close(j.dead)
		j.fatal(err)
	})
	select {}
}

// Ready returns nil if Append would take a delivery now, and otherwise why
// not: a journal is full from the first delivery that finds no room in it, even
// if a smaller one would. It asks nobody and costs nothing.
func (j *Journal) Ready() error {
	if j.open.closed() {
		return ErrClosed
	}
	if j.full.Load() || j.bytes.Load() >= j.maxBytes {
		return ErrFull
	}
	return j.disk.check()
}

// Stats says what waits to be told.
type Stats struct {
	Entries int64
	Bytes   int64     // sealed
	Oldest  time.Time // when the first of them arrived; zero if there are none
	Last    uint64    // sequence number of the newest there ever was
}

// Stats returns what is in the journal now, without what is being appended.
func (j *Journal) Stats() Stats {
	if !j.open.enter() {
		return Stats{}
	}
	defer j.open.leave()
	sum := j.window.totals()
	s := Stats{Entries: sum.entries, Bytes: sum.bytes, Last: sum.upTo}
	if s.Entries > 0 {
		s.Oldest = j.oldest()
	}
	return s
}

// Index returns the index of what was told.
func (j *Journal) Index() *Index { return j.index }

// Close waits for what is under way and closes the journal. Readers end with
// ErrClosed. If the disk is full or has failed, it doesn't wait and leaves the
// files as a crash would, with an error: what was accepted is safe.
func (j *Journal) Close() error {
	idle, first := j.open.close()
	if !first {
		return ErrClosed
	}
	close(j.stop)
	close(j.disk.stop)
	done := make(chan error, 1)
	go func() {
		<-idle
		<-j.stopped
		done <- j.close()
	}()
	tick := time.NewTicker(diskInterval)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-j.dead:
			return errors.New("close journal: it failed before")
		case <-tick.C:
			if j.disk.full.Load() {
				return fmt.Errorf("close journal: %w", ErrDiskLow)
			}
		}
	}
}

func (j *Journal) close() error {
	j.noteTotals(pebble.Sync)
	err := errors.Join(j.guard.clear(), j.db.Close(), j.guard.close(), j.notes.close(), j.lock.Close())
	<-j.disk.done
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// wait blocks until wake is closed, and fails if ctx ends or the journal is
// closed before.
func (j *Journal) wait(ctx context.Context, wake <-chan struct{}) error {
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-j.stop:
		return ErrClosed
	}
}
