package journal

import (
	"crypto/sha256"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/handlers"
)

// Who asks how things are must get an answer while a trim waits for a full
// disk.
func TestStatsDontWaitForATrim(t *testing.T) {
	keys, err := OpenKeyring(KeyConfig{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	j, err := open(Config{Dir: "journal", MaxBytes: 1 << 20, Keys: keys, Log: slog.New(slog.DiscardHandler)}, vfs.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	at := time.Date(2025, 1, 2, 3, 4, 5, 6e6, time.UTC)
	if _, err := j.Append(t.Context(), handlers.Delivery{Source: "alpha", Received: at}, "id", sha256.Sum256(nil)); err != nil {
		t.Fatal(err)
	}
	for name, hold := range map[string]bool{"before": false, "meanwhile": true} {
		if hold {
			j.Stats() // so that there is something to remember
			j.trimMu.Lock()
		}
		if s := j.Stats(); s.Entries != 1 || !s.Oldest.Equal(at) {
			t.Errorf("%s: %+v", name, s)
		}
		if hold {
			j.trimMu.Unlock()
		}
	}
}
