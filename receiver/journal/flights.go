package journal

import "sync"

// flights are the claims whose first delivery is not yet durable. A repeat
// waits for it instead of being answered too early.
type flights struct {
	shards [64]struct {
		mu sync.Mutex
		m  map[hash16]*flight
	}
}

type flight struct {
	id     hash16
	done   chan struct{} // made by the first who waits
	landed bool          // durable; to be read when done is closed
}

// join returns the flight of a claim, and whether it is the caller's own: then
// land must follow. If it is not, done is closed when the flight is over.
func (fs *flights) join(claim, id hash16) (f *flight, own bool) {
	s := &fs.shards[claim[0]%64]
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.m[claim]; ok {
		if f.done == nil {
			f.done = make(chan struct{})
		}
		return f, false
	}
	if s.m == nil {
		s.m = make(map[hash16]*flight)
	}
	f = &flight{id: id}
	s.m[claim] = f
	return f, true
}

func (fs *flights) land(claim hash16, f *flight, landed bool) {
	s := &fs.shards[claim[0]%64]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, claim)
	f.landed = landed
	if f.done != nil {
		close(f.done)
	}
}
