package journal

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// OpenFS opens a journal on a file system of the test's.
func OpenFS(c Config, files vfs.FS) (*Journal, error) { return open(c, files) }

// Sweep does a step of sweeping claims.
func (j *Journal) Sweep(now time.Time, limit int) error { return j.sweep(now, limit) }

// SweepAround does a step of sweeping, and something between looking for old
// claims and removing them.
func (j *Journal) SweepAround(now time.Time, between func()) error {
	old, _, err := j.oldClaims([]byte{prefixClaim}, now, 1000)
	if err != nil {
		return err
	}
	between()
	return j.dropClaims(old, now)
}

// Reclaim gives the space of trimmed entries back, however little it is.
func (j *Journal) Reclaim() error { return j.reclaim(0) }

// Flush moves what is in memory and in the log to tables.
func (j *Journal) Flush() error { return j.db.Flush() }

// Engine returns the store itself.
func (j *Journal) Engine() *pebble.DB { return j.db }

// LookAtDisk refreshes what is known of the disk.
func (j *Journal) LookAtDisk() { j.disk.refresh() }

// EngineOptions returns the options of the store, for a bare one.
func (j *Journal) EngineOptions(files vfs.FS) *pebble.Options {
	o := j.engineOptions(files, nil)
	o.FS = files
	return o
}

// ClaimLife is how long a claim holds.
const ClaimLife = claimLife

// WaitForFilters returns when the filters are filled.
func (j *Journal) WaitForFilters() {
	for !j.claims.full.Load() || !j.index.ids.full.Load() {
		<-time.After(time.Millisecond)
	}
}
