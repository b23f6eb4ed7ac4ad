package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// restored returns a receiver with a backup as its data and the keys of
// another one.
func restored(t *testing.T, backup string, of *receiver) *receiver {
	t.Helper()
	r := newReceiver(t, "nats: {dedupe_window: 1s}")
	data := filepath.Join(r.dir, "data")
	if err := os.CopyFS(data, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	out, err := r.command("serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "put it back") {
		t.Errorf("without the keys it says (%v): %s", err, out)
	}
	for _, name := range []string{"seal.key", "pseudonym.key"} {
		r.write(filepath.Join("data", name), readFile(t, filepath.Join(of.dir, "data", name)))
	}
	r.startBroker()
	return r
}

// tellings counts how often each process was told, once no more comes.
func tellings(t *testing.T, c jetstream.Consumer, atLeast int) map[string]int {
	t.Helper()
	told := map[string]int{}
	eventually(t, "everything is told", func() bool {
		batch, err := c.Fetch(1000, jetstream.FetchMaxWait(200*time.Millisecond))
		if err != nil {
			return false
		}
		came := false
		for m := range batch.Messages() {
			came = true
			told[m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]]++
		}
		return !came && len(told) >= atLeast
	})
	return told
}

// TestABackupUnderLoadHasEveryAcceptedPushOnce makes a backup while pushes go
// on, and restores it on another machine.
func TestABackupUnderLoadHasEveryAcceptedPushOnce(t *testing.T) {
	const clients, enough = 8, 300
	r := newReceiver(t, "nats: {dedupe_window: 1s}")
	r.startBroker()
	subscribe(t, connect(t, r.broker)) // the streams are there

	var mu sync.Mutex
	accepted := map[string]corastonetest.Push{}
	number := func() int { mu.Lock(); defer mu.Unlock(); return len(accepted) }
	stop := make(chan struct{})
	var load sync.WaitGroup
	node := nodeOf(t, 41)
	for client := range clients {
		pusher := r.pusher(caller)
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("load-%d-%d", client, i)
				e, err := testSigner(t).Sign(node.Notification(investment(id)))
				if err != nil {
					t.Error(err)
					return
				}
				push := e.Push()
				if a, err := pusher.Push(t.Context(), push); a.Status != http.StatusOK {
					t.Errorf("a push was answered %d (%v)", a.Status, err)
					return
				}
				mu.Lock()
				accepted[id] = push
				mu.Unlock()
			}
		})
	}
	defer load.Wait()
	var once sync.Once
	end := func() { once.Do(func() { close(stop) }) }
	defer end()
	eventually(t, "there is load", func() bool { return number() >= enough })
	mu.Lock()
	before := make([]string, 0, len(accepted))
	for id := range accepted {
		before = append(before, id)
	}
	mu.Unlock()
	backup := filepath.Join(t.TempDir(), "monday")
	stdout, stderr, code := r.finish("backup", "--ops", r.ops, backup)
	if code != exitOK || strings.TrimSpace(stdout) != backup {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	during := number()
	eventually(t, "the load goes on", func() bool { return number() > during+50 })
	if _, stderr, code := r.finish("backup", "--ops", r.ops, backup); code != exitFailed || !strings.Contains(stderr, "is there already") {
		t.Errorf("to the same place again: exit code %d\n%s", code, stderr)
	}
	end()
	load.Wait()
	told := tellings(t, subscribe(t, connect(t, r.broker)), len(accepted))
	for id, n := range told {
		if n != 1 {
			t.Errorf("the receiver told %s %d times", id, n)
		}
	}
	r.kill()
	t.Logf("%d pushes were accepted before the backup, %d when it was there, %d in all", len(before), during, len(accepted))

	copied := restored(t, backup, r)
	c := subscribe(t, connect(t, copied.broker))
	told = tellings(t, c, len(before))
	for _, id := range before {
		if told[id] == 0 {
			t.Errorf("%s was accepted before the backup and is not in it", id)
		}
	}
	// The platform tells everything again: what is missing comes, once.
	for id, push := range accepted {
		if status, _ := copied.pushed(push); status != http.StatusOK {
			t.Errorf("a repeat of %s was answered %d", id, status)
		}
	}
	for id, n := range tellings(t, c, len(accepted)-len(told)) {
		told[id] += n
	}
	for id := range accepted {
		if told[id] != 1 {
			t.Errorf("after a restore %s was told %d times", id, told[id])
		}
	}
}

func TestABackupOfAStoppedReceiverIsRestored(t *testing.T) {
	r := newReceiver(t, "")
	if _, stderr, code := r.finish("backup", filepath.Join(r.dir, "none")); code != exitNotFound {
		t.Errorf("without data: exit code %d\n%s", code, stderr)
	}
	r.startBroker()
	push := signed(t, nodeOf(t, 42).Notification(investment("kept")))
	_, id := r.pushed(push)
	r.relayed("published", 1)
	if _, stderr, code := r.finish("backup", filepath.Join(r.dir, "beside")); code != exitUnavailable {
		t.Errorf("beside a receiver that isn't found: exit code %d\n%s", code, stderr)
	}
	r.terminate()
	backup := filepath.Join(r.dir, "monday")
	if stdout, stderr, code := r.finish("backup", backup); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, secret := range []string{"seal.key", "pseudonym.key", "ops.token"} {
		key := strings.TrimSpace(readFile(t, filepath.Join(r.dir, "data", secret)))
		err := filepath.WalkDir(backup, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && strings.Contains(readFile(t, path), key) {
				t.Errorf("%s holds %s", path, secret)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	copied := restored(t, backup, r)
	if _, again := copied.pushed(push); again != id {
		t.Errorf("a repeat has the id %q, want %q", again, id)
	}
	if told := tellings(t, subscribe(t, connect(t, copied.broker)), 1); told["kept"] != 1 {
		t.Errorf("after a restore it was told %d times", told["kept"])
	}
}
