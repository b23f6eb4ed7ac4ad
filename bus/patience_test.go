package bus_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
)

// Creating everything may take longer than one attempt at anything.
func TestPrepareIsPatient(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	p := newProxy(t, external.URL(), func(p *proxy) {
		p.toServer = func(b []byte) []byte {
			if bytes.Contains(b, []byte("$JS.API.STREAM.CREATE.")) {
				<-time.After(150 * time.Millisecond) // a cluster elects a leader
			}
			return b
		}
	})
	b := external.Bus(func(cfg *bus.Config) { cfg.External.URL, cfg.Timeout = p.url(), time.Second })
	if err := b.Prepare(t.Context()); err != nil {
		t.Error(err)
	}
}

// What was created before a creation got no answer is there, and the next call
// goes on.
func TestPrepareGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	var creations atomic.Int32
	p := newProxy(t, external.URL(), func(p *proxy) {
		p.toServer = func(b []byte) []byte {
			if bytes.Contains(b, []byte("$JS.API.STREAM.CREATE.")) && creations.Add(1) == 4 {
				return bytes.ReplaceAll(b, []byte("$JS.API.STREAM.CREATE."), []byte("$JS.API.STREAM.ERODED."))
			}
			return b
		}
	})
	b := external.Bus(func(cfg *bus.Config) { cfg.External.URL, cfg.Timeout = p.url(), time.Second })
	if err := b.Prepare(t.Context()); err == nil || errors.Is(err, bus.ErrUnrecovered) {
		t.Errorf("got %v", err)
	}
	if err := b.Prepare(t.Context()); err != nil {
		t.Error(err)
	}
	if n := creations.Load(); n != 11 {
		t.Errorf("%d creations, want 10 and one that was repeated", n)
	}
}

// Who finds that another one made a stream first says how it differs.
func TestPrepareAtOnce(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	var all []*bus.Bus
	for i := range 4 {
		all = append(all, external.Bus(func(cfg *bus.Config) { cfg.DedupeWindow = time.Duration(i%2+1) * time.Minute }))
	}
	var atOnce sync.WaitGroup
	for _, b := range all {
		atOnce.Go(func() {
			if err := b.Prepare(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	atOnce.Wait()
	before := make([][]string, len(all))
	for i, b := range all {
		before[i] = b.Drift()
		bustest.Prepare(t, b)
		if diff := cmp.Diff(sorted(b.Drift()), sorted(before[i])); diff != "" {
			t.Errorf("bus %d says another drift when it looks again:\n%s", i, diff)
		}
	}
	if n := len(before[0]) + len(before[1]); n != 7 {
		t.Errorf("%d differences, want one for each stream: %q", n, before)
	}
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}
