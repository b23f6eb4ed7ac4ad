package journal_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/receiver/journal"
)

// Some promises can only be seen from outside of a process that dies or never
// goes on: the test binary runs itself again with these variables.
const (
	childScenario = "JOURNAL_TEST_SCENARIO"
	childDir      = "JOURNAL_TEST_DIR"
)

func childCommand(t *testing.T, scenario, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childScenario+"="+scenario, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// child plays a scenario and tells on standard output what happened.
func child(scenario, dir string) {
	keys, err := journal.OpenKeyring(journal.KeyConfig{DataDir: dir})
	if err != nil {
		fail(err)
	}
	fs := &faultFS{FS: vfs.Default}
	c := journal.Config{
		Dir: filepath.Join(dir, "journal"), MaxBytes: 1 << 30, Keys: keys,
		Log: slog.New(slog.DiscardHandler),
	}
	var fatal atomic.Int64
	if scenario == "fatal-returns" {
		c.Fatal = func(error) { fatal.Add(1); fmt.Println("fatal") }
	}
	j, err := journal.OpenFS(c, fs)
	if err != nil {
		fail(err)
	}
	switch scenario {
	case "hold":
		fmt.Println("open")
		io.Copy(io.Discard, os.Stdin) // until the parent goes
	case "sync-fails", "fatal-returns":
		fs.onSync(func(name string) error {
			if isLog(name) {
				return syscall.EIO
			}
			return nil
		})
		appendAll(j)
	case "sync-fails-once":
		var failed atomic.Bool
		fs.onSync(func(name string) error {
			if isLog(name) && failed.CompareAndSwap(false, true) {
				return syscall.ENOSPC // even this: it is a sync
			}
			return nil
		})
		appendAll(j)
	case "write-fails":
		fs.onWrite(func(name string) error {
			if isLog(name) {
				return syscall.EIO
			}
			return nil
		})
		appendAll(j)
	case "full-again":
		// The disk says that there is room, and then there is none: Pebble
		// gives up.
		fs.free.Store(1 << 40)
		fs.onWrite(func(name string) error {
			if isLog(name) {
				return syscall.ENOSPC
			}
			return nil
		})
		appendAll(j)
	case "engine-panics":
		// Pebble panics when it can't make another log; a caller that recovers
		// from that must not go on.
		fs.onCreate(func(name string) error {
			if isLog(name) {
				return syscall.EIO
			}
			return nil
		})
		defer func() { fmt.Println("went on: ", recover()) }()
		d, content := push(strings.Repeat("x", 1<<20)) // more than the first memtable holds
		_, err := j.Append(backgroundContext, d, "id", content)
		fmt.Println("accepted?", err)
	case "guard":
		appendAll(j)
		if err := j.Guard(2, 2); err != nil {
			fail(err)
		}
		fmt.Println("guarded")
		io.Copy(io.Discard, os.Stdin)
	default:
		fail(errors.New("no such scenario"))
	}
}

func fail(err error) {
	fmt.Println(err)
	os.Exit(3)
}

// appendAll appends three deliveries at once and says what they returned. It
// doesn't wait for those that never return.
func appendAll(j *journal.Journal) {
	done := make(chan string, 3)
	for i := range 3 {
		go func() {
			d, content := push(fmt.Sprint("payload ", i))
			r, err := j.Append(backgroundContext, d, fmt.Sprint("id ", i), content)
			done <- fmt.Sprint(r.Outcome, " ", err)
		}()
	}
	deadline := time.After(time.Second)
	for n := range 3 {
		select {
		case s := <-done:
			fmt.Println(s)
		case <-deadline:
			fmt.Print(strings.Repeat("waits\n", 3-n))
			return
		}
	}
}

func TestAFailedSyncEndsTheProcessWithoutAReceipt(t *testing.T) {
	for _, scenario := range []string{"sync-fails", "sync-fails-once", "write-fails", "full-again", "engine-panics"} {
		t.Run(scenario, func(t *testing.T) {
			out, err := childCommand(t, scenario, t.TempDir()).Output()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("the process ended with %v, want exit code 1", err)
			}
			if strings.Contains(string(out), "accepted") || strings.Contains(string(out), "went on") {
				t.Errorf("it went on: %s", out)
			}
		})
	}
}

func TestNobodyIsAnsweredAfterAFailureThatDidNotEndTheProcess(t *testing.T) {
	out, err := childCommand(t, "fatal-returns", t.TempDir()).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "fatal\nwaits\nwaits\nwaits\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestTwoProcessesCantOpenTheSameJournal(t *testing.T) {
	dir := t.TempDir()
	cmd := childCommand(t, "hold", dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); cmd.Wait() }()
	if line := make([]byte, 5); true {
		if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "open\n" {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	c := config(t, filepath.Join(dir, "journal"))
	j, err := journal.Open(c)
	if err == nil {
		closeJournal(t, j)
	}
	if !errors.Is(err, journal.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

func TestADeathIsCountedWhenTheProcessIsKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := childCommand(t, "guard", dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := make([]byte, len("accepted <nil>\n")*3+len("guarded\n"))
	if _, err := io.ReadFull(stdout, told); err != nil {
		t.Fatalf("%v: %s", err, told)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	keys, err := journal.OpenKeyring(journal.KeyConfig{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	c := config(t, filepath.Join(dir, "journal"))
	c.Keys = keys
	j := openJournal(t, c)
	defer closeJournal(t, j)
	if n := j.Stats().Entries; n != 3 {
		t.Errorf("%d entries survived the kill, want 3", n)
	}
	for seq, want := range map[uint64]int{1: 0, 2: 1, 3: 0} {
		if got := j.Deaths(seq); got != want {
			t.Errorf("Deaths(%d) = %d, want %d", seq, got, want)
		}
	}
}
