package journal

import "sync"

// window hands out sequence numbers and knows up to which of them all commits
// are done, in whatever order they end. Whoever reads up to there misses
// nothing.
type window struct {
	mu   sync.Mutex
	next uint64 // to be handed out
	sum  totals // sum.upTo: all up to it are done

	// sizes of what is done beyond sum.upTo, by seq; 0: under way. A ring.
	sizes []int64

	wake chan struct{} // closed when sum.upTo grows; nil while nobody waits
}

func newWindow(sum totals) *window {
	return &window{next: sum.upTo + 1, sum: sum, sizes: make([]int64, 64)}
}

// begin returns the next sequence number. finish must follow.
func (w *window) begin() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next-w.sum.upTo > uint64(len(w.sizes)) {
		bigger := make([]int64, 2*len(w.sizes))
		for s := w.sum.upTo + 1; s < w.next; s++ {
			bigger[s%uint64(len(bigger))] = w.sizes[s%uint64(len(w.sizes))]
		}
		w.sizes = bigger
	}
	seq := w.next
	w.next++
	return seq
}

// finish says that seq, of so many sealed bytes, is durable.
func (w *window) finish(seq uint64, size int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := uint64(len(w.sizes))
	w.sizes[seq%n] = size
	before := w.sum.upTo
	for s := w.sum.upTo + 1; s < w.next && w.sizes[s%n] != 0; s++ {
		w.sum.upTo = s
		w.sum.entries++
		w.sum.bytes += w.sizes[s%n]
		w.sizes[s%n] = 0
	}
	if w.sum.upTo > before && w.wake != nil {
		close(w.wake)
		w.wake = nil
	}
}

// trimmed takes entries out of the totals and returns what is left.
func (w *window) trimmed(entries, bytes int64) totals {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sum.entries = max(w.sum.entries-entries, 0)
	w.sum.bytes = max(w.sum.bytes-bytes, 0)
	if w.sum.entries == 0 {
		w.sum.bytes = 0 // the size of a damaged entry isn't known when it goes
	}
	return w.sum
}

func (w *window) totals() totals {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sum
}

// after returns the last sequence number that may be read if it is behind seq,
// and otherwise a channel that is closed when it moves.
func (w *window) after(seq uint64) (upTo uint64, wake <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sum.upTo > seq {
		return w.sum.upTo, nil
	}
	if w.wake == nil {
		w.wake = make(chan struct{})
	}
	return 0, w.wake
}
