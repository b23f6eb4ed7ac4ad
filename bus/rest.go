package bus

import (
	"errors"
	"fmt"
)

// ErrExternal says that the server is somebody else's.
var ErrExternal = errors.New("the NATS server is an external one")

// Rest stops the embedded server, calls fn with the folder of its store, in
// which then is all that was acknowledged and nothing changes, and starts the
// server again. Whoever publishes or reads meanwhile finds no connection, and
// finds one again afterwards. If the server doesn't start it is tried again, as
// after any failure. It fails with [ErrExternal], without calling fn, if there
// is no embedded server.
func (b *Bus) Rest(fn func(dir string) error) error {
	if b.server == nil {
		return ErrExternal
	}
	// Nothing is created and nobody restarts the server as long as this is
	// held.
	b.prepare.Lock()
	defer b.prepare.Unlock()
	if b.closing.Err() != nil {
		return ErrClosed
	}
	b.server.rest(true)
	b.server.halt()
	err := fn(b.server.cfg.Dir)
	started := b.server.start()
	b.server.rest(false)
	if started != nil {
		err = errors.Join(err, fmt.Errorf("after a rest: %w", started))
	}
	return err
}

func (e *embedded) rest(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resting = on
}

func (e *embedded) rests() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.resting
}
