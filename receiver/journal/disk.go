package journal

import (
	"errors"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// diskInterval is how old the known free space may be.
	diskInterval = time.Second
	// diskAmplification is how many bytes on disk an appended byte may take
	// until the next look: in the log and in a table.
	diskAmplification = 2
	// diskResume is how much must be free before a write that met a full disk
	// is tried again: enough for a log and a flushed memtable. It may be less
	// than the reserve, since what is already accepted must get on.
	diskResume = 4 * memTableSize

	probeName = "probe"
	probeSize = 64 << 10
)

// disk knows how much room there is without asking the operating system each
// time, and never makes a caller wait for it: statfs may hang.
type disk struct {
	fs      vfs.FS
	dir     string
	reserve int64
	log     *slog.Logger

	free    atomic.Int64 // as last seen
	written atomic.Int64 // appended since
	full    atomic.Bool  // a write met a full disk and waits

	look chan struct{} // asks for a look now
	stop chan struct{}
	done chan struct{}
}

func newDisk(fs vfs.FS, dir string, reserve int64, log *slog.Logger) *disk {
	d := &disk{
		fs: fs, dir: dir, reserve: reserve, log: log,
		look: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	d.refresh()
	return d
}

// run looks until stop is closed.
func (d *disk) run() {
	defer close(d.done)
	tick := time.NewTicker(diskInterval)
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		case <-d.look:
		}
		d.refresh()
	}
}

func (d *disk) refresh() {
	before := d.written.Load()
	usage, err := d.fs.GetDiskUsage(d.dir)
	switch {
	case errors.Is(err, vfs.ErrUnsupported):
		d.free.Store(math.MaxInt64)
	case err != nil:
		d.log.Warn("can't tell how much of the disk is free", "error", err)
		return
	default:
		d.free.Store(int64(min(usage.AvailBytes, math.MaxInt64)))
	}
	d.written.Add(-before)
}

// check returns ErrDiskLow if an append may not be accepted now.
func (d *disk) check() error {
	if d.full.Load() {
		return ErrDiskLow
	}
	free := d.free.Load()
	if free < d.reserve {
		return ErrDiskLow
	}
	if written := d.written.Load(); free-diskAmplification*written < d.reserve {
		select {
		case d.look <- struct{}{}:
		default:
		}
		return ErrDiskLow
	}
	return nil
}

// wrote counts bytes that were appended.
func (d *disk) wrote(n int) { d.written.Add(int64(n)) }

// waitForSpace is what Pebble calls when a write met a full disk, with that
// write and all others waiting (vfs.OnDiskFull). It returns when there is room
// again: the write is then tried once more, and would be fatal if it failed.
func (d *disk) waitForSpace() {
	d.full.Store(true)
	d.log.Error("the disk is full; nothing is accepted until there is room")
	defer func() {
		d.full.Store(false)
		d.log.Info("the disk has room again")
	}()
	tick := time.NewTicker(diskInterval / 4)
	defer tick.Stop()
	for range tick.C {
		if d.refresh(); d.free.Load() >= min(d.reserve, diskResume) && d.writable() {
			return
		}
	}
}

// writable tries it: a quota, or a lack of inodes, doesn't show in the free
// space.
func (d *disk) writable() bool {
	path := d.fs.PathJoin(d.dir, probeName)
	f, err := d.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return false
	}
	_, err = f.Write(make([]byte, probeSize))
	return errors.Join(err, f.Sync(), f.Close(), d.fs.Remove(path)) == nil
}
