package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// health is what is known of the embedded server.
type health struct {
	err      error // why it can't do its work, nil if it can
	restarts int
}

// How often the server is asked how it is, and how long a restart that helped
// nothing keeps the next one waiting.
const (
	watchEvery   = 500 * time.Millisecond
	firstBackoff = time.Second
	lastBackoff  = 5 * time.Minute
)

// How often in a row the server must say that it is frozen, or that something
// else is wrong, to be believed: a stream that is being created or deleted looks
// like one that is lost, and a busy machine like a server that isn't ready.
const (
	believedFrozen = 2
	believed       = 10
)

// watch restarts the server when it can't do its work any more: after a failed
// write, a full disk above all, it freezes the stream until it is started anew,
// and publishers see nothing but silence. While the folder can't be written a
// restart would not help, and may make the server fail to open streams that
// it has open now. It doesn't restart while busy is held.
func (e *embedded) watch(ctx context.Context, busy *sync.Mutex) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var backoff time.Duration
	var next time.Time
	bad := 0
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if e.rests() {
			continue
		}
		e.look()
		err := e.health().err
		if err == nil {
			bad = 0
			if time.Since(next) > backoff {
				backoff = 0
			}
			continue
		}
		need := believed
		if errors.Is(err, ErrFrozen) {
			need = believedFrozen
		}
		if bad++; bad < need || time.Now().Before(next) {
			continue
		}
		if err := e.writable(); err != nil {
			e.note(errors.Join(e.health().err, fmt.Errorf("the store can't be written: %w", err)))
			continue
		}
		if !busy.TryLock() {
			continue
		}
		e.log.Warn("restarting the embedded NATS", "error", err)
		e.restart()
		busy.Unlock()
		backoff = min(lastBackoff, max(firstBackoff, 2*backoff))
		next = time.Now().Add(backoff)
		bad = 0
	}
}

func (e *embedded) restart() {
	e.halt()
	if err := e.start(); err != nil {
		e.log.Error("the embedded NATS does not start", "error", err)
		e.note(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.restarts++
}

// look asks the server how it is and notes what it says.
func (e *embedded) look() { e.note(e.ask()) }

// ask asks the server how it is. Only this tells the truth about a frozen
// stream. The error wraps [ErrFrozen] if only a restart can help.
func (e *embedded) ask() error {
	s := e.server()
	if s == nil {
		return fmt.Errorf("%w: it does not run", ErrFrozen)
	}
	var others error
	for _, h := range healthz(s) {
		if h.Type == server.HealthzErrorJetStream || strings.Contains(h.Error, "write error") {
			return fmt.Errorf("%w: %s", ErrFrozen, h.Error)
		}
		others = errors.Join(others, errors.New(h.Error))
	}
	return others
}

// healthz asks again when the server says that it isn't ready for connections:
// it gives itself a millisecond to find out.
func healthz(s *server.Server) (errs []server.HealthzError) {
	for range 5 {
		errs = s.Healthz(&server.HealthzOptions{Details: true}).Errors
		if len(errs) == 0 || errs[0].Type != server.HealthzErrorConn {
			return errs
		}
	}
	return errs
}

func (e *embedded) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if (err == nil) != (e.state.err == nil) {
		if err != nil {
			e.log.Error("the embedded NATS is not healthy", "error", err)
		} else {
			e.log.Info("the embedded NATS is healthy again")
		}
	}
	e.state.err = err
}

func (e *embedded) health() health {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state
}

// probe is the name and size of a file that is written to see whether one can.
const (
	probe     = ".probe"
	probeSize = 1 << 20
)

// writable returns nil if there is room in the store's folder for more than a
// restart takes.
func (e *embedded) writable() error {
	name := filepath.Join(e.cfg.Dir, probe)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(name))
}

// Check is one thing that is well or isn't.
type Check struct {
	Name   string
	OK     bool
	Detail string // why not, or a figure; no payload
}

// full is from where on a stream's fill is worth an alarm.
const full = 80 // percent

// Check tells what is degraded. Nothing of it keeps the receiver from accepting
// deliveries. It takes no longer than two seconds.
func (b *Bus) Check(ctx context.Context) []Check {
	checks := []Check{{Name: "nats connection", OK: b.link.connected() != nil}}
	if !checks[0].OK {
		checks[0].Detail = ErrDisconnected.Error()
	}
	if b.server != nil {
		h := b.server.health()
		c := Check{Name: "nats server", OK: h.err == nil}
		if h.err != nil {
			c.Detail = strings.ReplaceAll(h.err.Error(), "\n", "; ")
		} else if h.restarts > 0 {
			c.Detail = fmt.Sprintf("restarted %d times", h.restarts)
		}
		checks = append(checks, c)
	}
	drift := b.Drift()
	checks = append(checks, Check{Name: "nats streams as configured", OK: len(drift) == 0, Detail: strings.Join(drift, "; ")})
	if !checks[0].OK {
		return checks
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, s := range schemas.Streams() {
		checks = append(checks, b.checkStream(ctx, s))
	}
	return checks
}

func (b *Bus) checkStream(ctx context.Context, s schemas.Stream) Check {
	c := Check{Name: "nats stream " + string(s)}
	state, err := b.StreamState(ctx, s)
	if err != nil {
		c.Detail = err.Error()
		return c
	}
	c.OK = true
	if state.MaxBytes > 0 {
		percent := int(state.Bytes * 100 / uint64(state.MaxBytes))
		c.Detail = fmt.Sprintf("%d %% full", percent)
		c.OK = percent < full || b.cfg.stream(s).Discard != jetstream.DiscardNew
	}
	return c
}
