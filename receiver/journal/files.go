package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// watchedFS is the file system as Pebble sees it. It takes a failed write or
// sync for final: once fsync has failed, the kernel may have marked the pages
// clean, and a second fsync would report success for bytes that are nowhere.
// Pebble itself would try again in places, and vfs.OnDiskFull always.
//
// Only a write that meets a full disk is passed on as it is: nothing of it was
// promised yet.
type watchedFS struct {
	vfs.FS
	synced *synced
	fatal  func(error)
}

func (w *watchedFS) Unwrap() vfs.FS { return w.FS }

func (w *watchedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.Create(name, category)
	return w.watchNew(name, f, err)
}

func (w *watchedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.ReuseForWrite(oldname, newname, category)
	return w.watchNew(newname, f, err)
}

func (w *watchedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := w.FS.Open(name, opts...)
	return w.watch(f, err)
}

func (w *watchedFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := w.FS.OpenReadWrite(name, category, opts...)
	return w.watch(f, err)
}

func (w *watchedFS) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	return w.watch(f, err)
}

func (w *watchedFS) watch(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &watchedFile{File: f, fs: w, slot: -1}, nil
}

// watchNew notes a log or a MANIFEST before anything is written to it, so that
// the note of its predecessor is never the newest when that is removed.
//
// Without a new log Pebble can't go on; it would panic with its locks held.
func (w *watchedFS) watchNew(name string, f vfs.File, err error) (vfs.File, error) {
	base := w.PathBase(name)
	at := -1
	// A checkpoint has files of the same names in a folder of its own.
	if w.PathDir(name) == w.PathJoin(w.synced.dir) {
		at = w.synced.slotFor(base)
	}
	if err != nil {
		if at >= 0 && !errors.Is(err, syscall.ENOSPC) {
			w.fatal(fmt.Errorf("make a file: %w", err))
		}
		return nil, err
	}
	file := &watchedFile{File: f, fs: w, slot: at, state: slot{name: base}}
	if file.slot >= 0 {
		w.synced.note(file.slot, file.state)
	}
	return file, nil
}

// watchedFile follows what is written to a file from its beginning on. Pebble
// writes and syncs a log from one goroutine, and the MANIFEST under a lock.
type watchedFile struct {
	vfs.File
	fs    *watchedFS
	slot  int  // -1: no notes
	state slot // what was written, synced or not
}

func (f *watchedFile) Write(p []byte) (int, error) {
	before, sum := f.state.sum, uint32(0)
	if f.slot >= 0 { // a file may change p while it writes
		sum = crc32.Update(before, castagnoli, p)
	}
	n, err := f.File.Write(p)
	if n < len(p) {
		sum = crc32.Update(before, castagnoli, p[:n])
	}
	if f.slot >= 0 {
		f.state.size += int64(n)
		f.state.sum = sum
	}
	return n, f.failed("write", err)
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	return n, f.failed("write", err)
}

func (f *watchedFile) Sync() error { return f.sync(f.File.Sync()) }

func (f *watchedFile) SyncData() error { return f.sync(f.File.SyncData()) }

func (f *watchedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	if err != nil {
		f.die("sync", err)
	}
	return full, err
}

func (f *watchedFile) sync(err error) error {
	if err != nil {
		f.die("sync", err)
		return err
	}
	if f.slot >= 0 {
		f.fs.synced.note(f.slot, f.state)
	}
	return nil
}

func (f *watchedFile) failed(op string, err error) error {
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		f.die(op, err)
	}
	return err
}

func (f *watchedFile) die(op string, err error) {
	f.fs.fatal(fmt.Errorf("%s failed for good: %w", op, err))
}
