package journal

import "sync"

// gate counts who is inside, so that Close can wait for them and let nobody
// else in. Pebble panics when it is used after it was closed.
type gate struct {
	mu     sync.Mutex
	inside int
	idle   chan struct{} // set by close, closed when nobody is inside
}

// enter reports whether the gate is open. If it is, leave must follow.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle != nil {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.idle != nil {
		close(g.idle)
	}
}

func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.idle != nil
}

// close closes the gate. The channel is closed when nobody is inside; first is
// false if the gate was closed before.
func (g *gate) close() (idle <-chan struct{}, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle != nil {
		return g.idle, false
	}
	g.idle = make(chan struct{})
	if g.inside == 0 {
		close(g.idle)
	}
	return g.idle, true
}
