package bus_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// A disk that is full, and has room again, twice over: nothing that was
// acknowledged is lost, and nobody has to do anything.
func TestFullDiskHealsByItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("needs a small file system of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.Embedded.Dir = filepath.Join(dir, "nats")
		cfg.Timeout = 500 * time.Millisecond
		cfg.Log = nil
	})
	last := 0
	more := func(n int) error {
		msgs := events(raw, last+1, last+n)
		for i := range msgs {
			msgs[i].Body = make([]byte, 2000)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		seqs, err := b.Publish(ctx, raw, msgs)
		last += len(seqs)
		if errors.Is(err, schemas.ErrUnpublishable) {
			t.Fatalf("a full disk: %v", err)
		}
		return err
	}
	for round := range 2 {
		ballast := filepath.Join(dir, "ballast")
		fill(t, ballast, 200<<10)
		var err error
		for i := 0; err == nil && i < 10_000; i++ {
			err = more(1 + 49*(i%2))
		}
		if err == nil {
			t.Fatal("the disk is never full")
		}
		eventually(t, "it says that it is not well", func() bool { return !serverOK(t, b) })
		epoch := b.Epoch()
		if err := more(20); !errors.Is(err, bus.ErrFrozen) && !errors.Is(err, bus.ErrDisconnected) {
			t.Errorf("a frozen stream: %v", err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it stores again", func() bool { return more(20) == nil })
		if b.Epoch() == epoch {
			t.Error("it acknowledges although it was not restarted")
		}
		// Of what was not acknowledged some may be there, too.
		got := stored(t, b, raw)
		if len(got) < last {
			t.Fatalf("%d of %d are stored", len(got), last)
		}
		if diff := cmp.Diff(ids(1, len(got)), got); diff != "" {
			t.Fatalf("round %d:\n%s", round, diff)
		}
	}
}

// fill writes a file that leaves only that much room.
func fill(t *testing.T, name string, leave int64) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(name), &fs); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, int64(fs.Bavail)*fs.Bsize-leave), 0o600); err != nil {
		t.Fatal(err)
	}
}
