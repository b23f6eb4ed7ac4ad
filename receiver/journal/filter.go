package journal

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// filter knows of most keys that are not in the store that they aren't, in a
// tenth of the time that the store takes to say so: nearly every claim and
// every event is new. It is a Bloom filter in memory, filled from the store
// when the journal is opened; until that is done, everything may be there.
//
// Adding and asking don't wait for each other.
type filter struct {
	prefix byte // of the keys, which are the prefix and a hash

	current atomic.Pointer[layers]
	next    atomic.Pointer[layers] // while it is filled, else nil
	full    atomic.Bool            // current holds all keys of the store
	dropped atomic.Int64           // keys removed from the store since current was begun
}

// layers are Bloom filters of growing size; the last one takes the keys.
type layers struct {
	mu   sync.Mutex // to add a layer
	list atomic.Pointer[[]*layer]
}

type layer struct {
	blocks [][8]uint64 // a cache line each
	room   atomic.Int64
	size   int64
}

const (
	firstLayer = 1 << 16 // keys
	lastLayer  = 1 << 22
	// keysPerBlock makes 16 bits a key: of 200 that aren't there, one may be.
	keysPerBlock = 32
)

func newFilter(prefix byte) *filter {
	f := &filter{prefix: prefix}
	f.current.Store(newLayers())
	return f
}

func newLayers() *layers {
	ls := &layers{}
	ls.list.Store(&[]*layer{newLayer(firstLayer)})
	return ls
}

func newLayer(size int64) *layer {
	l := &layer{blocks: make([][8]uint64, size/keysPerBlock+1), size: size}
	l.room.Store(size)
	return l
}

// add must come after the key can be seen in the store, and before anybody may
// ask for it.
func (f *filter) add(h hash16) {
	// fill makes next known before it looks at the store, so it sees a key
	// that comes too early for next; one that comes too late finds current to
	// be what next was.
	if next := f.next.Load(); next != nil {
		next.add(h)
	}
	f.current.Load().add(h)
}

// may reports whether a key may be in the store. False is certain.
func (f *filter) may(h hash16) bool {
	return !f.full.Load() || f.current.Load().may(h)
}

func (ls *layers) add(h hash16) {
	list := *ls.list.Load()
	last := list[len(list)-1]
	if last.room.Add(-1) < 0 {
		last = ls.grow(last)
	}
	block, bits := last.locate(h)
	for i := range 7 {
		bit := bits >> (9 * i) & 511
		atomic.OrUint64(&block[bit/64], 1<<(bit%64))
	}
}

func (ls *layers) grow(full *layer) *layer {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	list := *ls.list.Load()
	last := list[len(list)-1]
	if last == full {
		last = newLayer(min(2*full.size, lastLayer))
		bigger := append(list[:len(list):len(list)], last)
		ls.list.Store(&bigger)
	}
	return last
}

func (ls *layers) may(h hash16) bool {
	for _, l := range *ls.list.Load() {
		if l.may(h) {
			return true
		}
	}
	return false
}

// count is how many keys were added, about.
func (ls *layers) count() int64 {
	var n int64
	for _, l := range *ls.list.Load() {
		n += l.size - l.room.Load()
	}
	return n
}

func (l *layer) may(h hash16) bool {
	block, bits := l.locate(h)
	for i := range 7 {
		bit := bits >> (9 * i) & 511
		if atomic.LoadUint64(&block[bit/64])&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}

// locate returns the block of a key, and 63 bits that choose seven bits in it.
func (l *layer) locate(h hash16) (*[8]uint64, uint64) {
	return &l.blocks[binary.LittleEndian.Uint64(h[:8])%uint64(len(l.blocks))], binary.LittleEndian.Uint64(h[8:])
}

// stale reports whether so many keys are gone that a rebuild pays.
func (f *filter) stale() bool {
	return f.full.Load() && f.dropped.Load() > max(f.current.Load().count()/2, firstLayer)
}

// fill makes the filter anew from the store. It ends early, and leaves the
// filter as it was, if stop is closed.
func (f *filter) fill(db *pebble.DB, stop <-chan struct{}) error {
	next := newLayers()
	f.dropped.Store(0)
	f.next.Store(next)
	defer f.next.Store(nil)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{f.prefix}, UpperBound: []byte{f.prefix + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%1024 == 0 {
			select {
			case <-stop:
				return nil
			default:
			}
		}
		next.add(hash16(it.Key()[1:]))
	}
	if err := it.Error(); err != nil {
		return err
	}
	f.current.Store(next)
	f.full.Store(true)
	return nil
}
