package main

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// A disk that fills while pushes come: below the reserve they are refused with
// 503 and nothing else; when not a byte is left the journal and the embedded
// NATS store wait. When there is room again both go on by themselves, and what
// was accepted is told once.
func TestFullDiskLosesNothingAndRecoversByItself(t *testing.T) {
	r := newReceiver(t, "")
	r.edit("max_store: 1GiB", "max_store: 128MiB")
	r.edit("reserve: 1MiB", "reserve: 16MiB")
	data := filepath.Join(r.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=256m"); err != nil {
		t.Skipf("NOTICE: a full disk is not tried, for it needs a small file system of its own: %v", err)
	}
	t.Cleanup(func() {
		r.kill()
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	r.startBroker()
	node := nodeOf(t, 43)
	full := newCrowd(r, func(name string) corastonetest.Push { return signed(t, node.Notification(investment(name))) })
	full.one()
	r.relayed("published", 1)
	ballast := filepath.Join(data, "ballast")
	for _, leave := range []int64{8 << 20, 0} {
		fillDisk(t, ballast, leave)
		full.untilFull()
		for range 3 {
			if status := full.one(); status != http.StatusServiceUnavailable {
				t.Errorf("with %d bytes left a push was answered %d", leave, status)
			}
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		full.backWithin(comeback)
		for range 20 {
			full.one()
		}
	}
	full.arrived(connect(t, r.broker), "POSTERN_EVENTS", full.made-len(full.ids))
}

// fillDisk writes a file that leaves only that much room, and with 0 until
// nothing more goes in.
func fillDisk(t *testing.T, name string, leave int64) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(name), &fs); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(name, make([]byte, int64(fs.Bavail)*fs.Bsize-leave), 0o600)
	if err != nil && leave > 0 {
		t.Fatal(err)
	}
}
