package journal

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// memTableSize bounds the log that a start has to replay, and the memory
	// of a burst: two of them are full before writers wait for the disk. Idle,
	// Pebble holds a small one.
	memTableSize = 8 << 20
	// cacheSize includes what Pebble reserves in it for memtables.
	cacheSize = 40 << 20
)

func (j *Journal) engineOptions(files vfs.FS, lock *pebble.Lock) *pebble.Options {
	o := &pebble.Options{
		FS:     vfs.OnDiskFull(files, j.disk.waitForSpace),
		Lock:   lock,
		Logger: engineLog{j.log, j.die},
		EventListener: &pebble.EventListener{
			// Called for a flush or compaction that failed. It is tried again;
			// what may not be tried again has gone to watchedFS.
			BackgroundError: func(err error) { j.log.Error("the journal's upkeep failed and is tried again", "error", err) },
			// Without a listener, reading a damaged block ends the process.
			// Who reads it gets an error, and decides.
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				j.log.Error("a file of the journal is damaged", "file", info.Path, "error", info.Details)
				if isIndex(info) {
					j.indexDamaged.Store(true)
				}
			},
		},

		// The default loses synced records silently when a bit flips in the
		// log (see synced.go for what the newest still misses).
		FormatMajorVersion: pebble.FormatNewest,

		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 3,
		CacheSize:                   cacheSize,
		MaxOpenFiles:                256,
		MaxManifestFileSize:         4 << 20,

		// With a low threshold, merging claims would again and again take the
		// entries beside them along. They are left out once they are more than
		// 25 tables of the target size, which half this many flushes hold.
		L0CompactionThreshold: 40,
		L0StopWritesThreshold: 100,
		LBaseMaxBytes:         16 << 20,
	}
	o.Experimental.FileCacheShards = 1
	o.Experimental.SpanPolicyFunc = splitKinds
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 2 << 20
	}
	o.TargetFileSizes[0] = 2 * memTableSize // a flush's entries in one table: fewer syncs
	for i := range o.Levels {
		o.Levels[i].BlockSize = 8 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // for claims and the index, most of which are asked for in vain
		// What is sealed and what is hashed doesn't get smaller.
		o.Levels[i].Compression = func() *block.CompressionProfile { return block.NoCompression }
	}
	return o
}

// splitKinds makes tables end where entries or the index begin or end. Claims
// have random keys and are rewritten again and again as tables merge; entries
// come in order and, in tables of their own, are never rewritten, only moved
// and dropped.
func splitKinds(from []byte) (pebble.SpanPolicy, []byte, error) {
	for _, border := range []byte{prefixEntry, prefixEntry + 1, prefixToldSeq, prefixToldSeq + 1} {
		if from[0] < border {
			return pebble.SpanPolicy{}, []byte{border}, nil
		}
	}
	return pebble.SpanPolicy{}, nil, nil
}

// engineLog passes on what Pebble can't handle. Its chatter about flushes and
// compactions is dropped.
type engineLog struct {
	log *slog.Logger
	die func(error)
}

func (engineLog) Infof(string, ...any) {}

func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("the journal's engine reports an error", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble would go on and report success for a commit
// that failed.
func (l engineLog) Fatalf(format string, args ...any) {
	l.die(fmt.Errorf(format, args...))
}
