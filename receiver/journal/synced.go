package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble takes a damaged record in the last write-ahead log or in the MANIFEST
// for the ragged end that a crash leaves, unless a later record vouches for it,
// which it does not always (record.Reader.readAheadForCorruption in v2.1.7;
// versionSet.load never asks). What came behind would be gone without a word.
// So we note, beside the files, how much of each was synced and with which
// checksum, before anybody is told that it was. What is noted must be there
// when the journal is opened again.
//
// The note itself is not synced: after a power cut it may be older than the
// files, and then vouches for less of them, but never for something that
// wasn't synced.

const (
	syncedName  = "synced" // the file of notes
	syncedSlots = 9        // one for the MANIFEST, eight for logs: more than are ever alive
	slotSize    = 64
	slotName    = 40
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// slot is one note: so much of this file was synced.
type slot struct {
	name string
	size int64
	sum  uint32 // of the first size bytes
}

func (s slot) bytes() []byte {
	b := make([]byte, slotSize)
	copy(b[:slotName], s.name)
	binary.BigEndian.PutUint64(b[slotName:], uint64(s.size))
	binary.BigEndian.PutUint32(b[slotName+8:], s.sum)
	binary.BigEndian.PutUint32(b[slotSize-4:], crc32.Checksum(b[:slotSize-4], castagnoli))
	return b
}

// readSlot returns an empty slot for zeros and an error for a damaged one.
func readSlot(b []byte) (slot, error) {
	name := strings.TrimRight(string(b[:slotName]), "\x00")
	sum := binary.BigEndian.Uint32(b[slotSize-4:])
	if name == "" && sum == 0 {
		return slot{}, nil
	}
	if sum != crc32.Checksum(b[:slotSize-4], castagnoli) {
		return slot{}, fmt.Errorf("%w: a note in the file %q", ErrDamaged, syncedName)
	}
	return slot{
		name: name,
		size: int64(binary.BigEndian.Uint64(b[slotName:])),
		sum:  binary.BigEndian.Uint32(b[slotName+8:]),
	}, nil
}

func isManifest(name string) bool { return strings.HasPrefix(name, "MANIFEST-") }

// fileNumber returns the number in a file's name, and false if it is neither a
// log nor a MANIFEST.
func fileNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok {
		if digits, ok = strings.CutPrefix(name, "MANIFEST-"); !ok {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// synced keeps the notes.
type synced struct {
	fs  vfs.FS
	dir string
	log *slog.Logger

	mu      sync.Mutex
	f       vfs.File
	next    int  // slot of the next log
	warned  bool // a note could not be written
	scratch [slotSize]byte
}

// openSynced opens the notes and checks the files against them. It fails with
// ErrDamaged if something that was synced is not there any more.
func openSynced(files vfs.FS, dir string, log *slog.Logger) (*synced, error) {
	s := &synced{fs: files, dir: dir, log: log}
	path := files.PathJoin(dir, syncedName)
	f, err := files.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	s.f = f
	notes := make([]byte, syncedSlots*slotSize)
	if n, err := f.ReadAt(notes, 0); err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	} else if n < len(notes) {
		// A new file: give it its blocks, so that a full disk can't keep a
		// note from being written.
		clear(notes)
		if _, err := f.WriteAt(notes, 0); err != nil {
			f.Close()
			return nil, err
		}
		if err := f.Sync(); err != nil {
			f.Close()
			return nil, err
		}
	}
	if err := s.verify(notes); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *synced) verify(notes []byte) error {
	list, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	newest := func(manifest bool) uint64 {
		var newest uint64
		for _, name := range list {
			if n, ok := fileNumber(name); ok && isManifest(name) == manifest {
				newest = max(newest, n)
			}
		}
		return newest
	}
	var lastLog uint64
	for i := range syncedSlots {
		note, err := readSlot(notes[i*slotSize : (i+1)*slotSize])
		if err != nil {
			// The notes are a second look at files that have their own
			// checksums: without one of them the files may still be whole.
			s.log.Warn("a note of what was synced is damaged and left aside", "error", err)
			continue
		}
		number, ok := fileNumber(note.name)
		if !ok {
			continue
		}
		if i > 0 && number > lastLog {
			lastLog, s.next = number, i
		}
		whole, err := s.whole(note)
		if errors.Is(err, fs.ErrNotExist) && number < newest(isManifest(note.name)) {
			// Logs and MANIFESTs go when a newer one has taken over; their
			// notes stay until the slot is needed again, or come back after a
			// power cut.
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if whole {
			continue
		}
		return fmt.Errorf("%w: %s is not what was synced to it: restore %s from a copy, or, to go on without what is missing, remove the file %q in it",
			ErrDamaged, note.name, s.dir, syncedName)
	}
	return nil
}

// whole reports whether what was noted of a file is there.
func (s *synced) whole(note slot) (bool, error) {
	f, err := s.fs.Open(s.fs.PathJoin(s.dir, note.name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, io.LimitReader(f, note.size))
	if err != nil {
		return false, err
	}
	return n == note.size && h.Sum32() == note.sum, nil
}

// slotFor returns the slot of a new file, or -1 for one without notes.
func (s *synced) slotFor(name string) int {
	if _, ok := fileNumber(name); !ok {
		return -1
	}
	if isManifest(name) {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = s.next%(syncedSlots-1) + 1
	return s.next
}

// note says that so much of a file was synced. That it can't be written takes
// nothing from the file itself.
func (s *synced) note(at int, n slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.scratch[:], n.bytes())
	if _, err := s.f.WriteAt(s.scratch[:], int64(at)*slotSize); err != nil && !s.warned {
		s.warned = true
		s.log.Warn("can't note what was synced; damage at the end of a log may go unseen", "error", err)
	}
}

func (s *synced) close() error { return s.f.Close() }
