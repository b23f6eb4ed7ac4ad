package journal

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Checkpoint copies the journal to dir, which must not be there yet, and on
// the same file system: what doesn't change any more is linked. In the copy is
// everything that Append had acknowledged before the call and that is not
// trimmed. It opens as a journal does. Whatever else goes on meanwhile goes on.
//
// It fails with ErrDiskLow, without having begun, if Append would.
func (j *Journal) Checkpoint(dir string) error {
	if !j.open.enter() {
		return fmt.Errorf("copy journal: %w", ErrClosed)
	}
	defer j.open.leave()
	if err := j.disk.check(); err != nil {
		return fmt.Errorf("copy journal: %w", err)
	}
	if err := j.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("copy journal: %w", err)
	}
	return nil
}
