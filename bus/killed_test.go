package bus_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
)

// killedDir names the environment variable that makes a test binary publish
// into a store until somebody kills it.
const killedDir = "POSTERN_TEST_PUBLISH_INTO"

func killedConfig(dir string) bus.Config {
	return bus.Config{Embedded: &bus.Embedded{Dir: dir, StoreKey: "key"}, MaxStore: 1 << 30}
}

// publishUntilKilled publishes e1, e2 and so on, behind what is there, and
// prints how far the bus said that it has them.
func publishUntilKilled(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	b, err := bus.Open(killedConfig(dir))
	if err != nil {
		fail(err)
	}
	ctx := context.Background()
	if err := b.Prepare(ctx); err != nil {
		fail(err)
	}
	state, err := b.StreamState(ctx, raw)
	if err != nil {
		fail(err)
	}
	for last := int(state.Last); ; {
		n := 1 + last*7%90
		if _, err := b.Publish(ctx, raw, events(raw, last+1, last+n)); err != nil {
			fail(err)
		}
		last += n
		fmt.Println(last)
	}
}

// A process that is killed at any moment keeps what was acknowledged, in order
// and once, and the next one goes on behind it.
func TestKilledProcessKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := 0
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), killedDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 3 + 5*round {
			if !lines.Scan() {
				t.Fatal("the publisher ended by itself")
			}
		}
		cmd.Process.Kill()
		for ok := true; ok; ok = lines.Scan() {
			if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
		}
		cmd.Wait()
	}
	b := bustest.Open(t, killedConfig(dir))
	bustest.Prepare(t, b)
	got := stored(t, b, raw)
	if len(got) < acknowledged {
		t.Fatalf("%d are stored, %d were acknowledged", len(got), acknowledged)
	}
	if diff := cmp.Diff(ids(1, len(got)), got); diff != "" {
		t.Error(diff)
	}
	publish(t, b, raw, events(raw, 1, len(got)+20)...)
}
