package poll

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// digest tells states apart. It never leaves the process.
type digest [16]byte

func digestOf(state []byte) digest {
	sum := sha256.Sum256(state)
	return digest(sum[:16])
}

// book is what a receiver remembers of the parts of one role: enough to see
// that nothing changed, and no more. It may be behind what is on the bus: a
// change is only made of what is read there. It is shared by the pollers of the
// role, which see different entities, and safe for concurrent use.
type book struct {
	loading sync.Mutex // held while everything is read

	mu         sync.Mutex // guards what follows
	generation string     // of the bucket
	entities   map[string]*entity
	containers map[string]*container
	scans      uint32 // numbers scans
	loads      uint32 // numbers readings of everything
}

// entity is what is remembered of one entity, about 200 bytes with its key.
type entity struct {
	key      string
	revision uint64 // of the entry on the bus
	digest   digest
	home     *container
	seen     int64  // when the last scan began that saw it as it is known, Unix nanoseconds, 0: none did here
	at       int32  // its place in home
	scan     uint32 // in which scan it was seen last
	load     uint32 // with which reading it was there
	missed   uint8  // complete scans in a row that didn't see it
	absent   bool
	doubted  bool // missed by the last scan of its container, which was suspect
}

// container is what is remembered of a list, token, tranche or deal.
type container struct {
	name    string
	members []*entity // absent ones as well
	// marked says that it was seen completely before, and that the bus knows.
	// last is when the last scan began of which we know that it did, and that
	// what it found is in the journal.
	marked bool
	last   time.Time

	by string // the poller that completed it last

	// A scan that shrank too much is suspect until others agree with it.
	doubt  digest // of the keys that it missed
	agreed int    // suspect scans in a row that missed the same, 0: it is not suspect
}

func newBook() *book {
	return &book{entities: map[string]*entity{}, containers: map[string]*container{}}
}

// begin returns the number of a new scan.
func (b *book) begin() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scans++
	return b.scans
}

// container returns what is remembered of a container. mu is held.
func (b *book) container(name string) *container {
	c := b.containers[name]
	if c == nil {
		c = &container{name: name}
		b.containers[name] = c
	}
	return c
}

// learn takes over what the bus has of an entity: the entry's revision and the
// part, or no part. What is older than what was learned before is ignored.
func (b *book) learn(key string, revision uint64, part handlers.Part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entities[key]
	if part.State == nil {
		if e != nil && e.revision <= revision {
			b.forget(e)
		}
		return
	}
	switch {
	case e == nil:
		e = &entity{key: key, at: -1}
		b.entities[key] = e
	case e.revision > revision:
		e.load = b.loads
		return
	}
	e.revision, e.load = revision, b.loads
	sum := digestOf(part.State)
	if e.at >= 0 && e.digest == sum && e.absent == part.Absent && e.home.name == part.Container {
		return
	}
	e.digest, e.absent = sum, part.Absent
	e.seen, e.scan, e.missed, e.doubted = 0, 0, 0, false
	b.move(e, part.Container)
}

// gone takes over that the bus has no entry of an entity.
func (b *book) gone(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entities[key]; e != nil {
		b.forget(e)
	}
}

func (b *book) forget(e *entity) {
	b.leave(e)
	delete(b.entities, e.key)
}

func (b *book) move(e *entity, home string) {
	b.leave(e)
	e.home = b.container(home)
	e.at = int32(len(e.home.members)) //nolint:gosec // far fewer
	e.home.members = append(e.home.members, e)
}

func (b *book) leave(e *entity) {
	if e.at < 0 {
		return
	}
	members := e.home.members
	last := members[len(members)-1]
	members[e.at], last.at = last, e.at
	members[len(members)-1] = nil
	e.home.members = members[:len(members)-1]
	e.at = -1
}

// reading begins a reading of everything, and swept ends it: what was not
// learned in between is not on the bus any more.
func (b *book) reading() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loads++
}

func (b *book) swept() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entities {
		if e.load != b.loads {
			b.forget(e)
		}
	}
}

// saw reports whether an entity is known just as it was seen, and notes that.
// Otherwise it returns the container in which it is known, if it is.
func (b *book) saw(scan uint32, began time.Time, s handlers.Sighting, sum digest) (home string, known, same bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entities[s.Key]
	if e == nil {
		return "", false, false
	}
	// One that was seen where it is known may be in other containers as well.
	same = !e.absent && e.digest == sum && (e.home.name == s.Container || e.scan == scan)
	if same {
		e.scan, e.seen, e.missed, e.doubted = scan, began.UnixNano(), 0, false
	}
	return e.home.name, true, same
}

// looks notes that what the bus has of an entity looks as it was seen, though
// its bytes may differ: they are what a JSON library makes of those.
func (b *book) looks(key string, scan uint32, began time.Time, sum digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entities[key]; e != nil {
		e.digest, e.scan, e.seen, e.missed, e.doubted = sum, scan, began.UnixNano(), 0, false
	}
}

// missing returns the entities of a container that a scan didn't see: neither
// as they are known nor otherwise. mu is held.
func (c *container) missing(scan uint32, otherwise map[string]*sighting) (missing []*entity, present int) {
	for _, e := range c.members {
		if e.absent {
			continue
		}
		present++
		if e.scan != scan && otherwise[e.key] == nil {
			missing = append(missing, e)
		}
	}
	return missing, present
}

// The rules of absence.
const (
	believeAbsence = 2  // complete scans in a row that must miss an entity
	shrinkAbove    = 50 // known entities in a container, above which a scan can be suspect
	shrinkPercent  = 20 // by how much one shrinks that is
	believeShrink  = 3  // suspect scans in a row that must miss the same

	// accepted counts the scans that missed an entity of which an operator
	// says that it is absent.
	accepted = 255
)

// Suspicion is a scan that shrank too much to be believed.
type Suspicion struct {
	Container string
	Known     int // entities that were there
	Seen      int // of which so many were seen, or others instead
}

// judge says which entities of a container are absent, after a complete scan
// that saw so many in it, and whether the scan is suspect. mu is held.
func (c *container) judge(missing []*entity, present, seen int) (absent []*entity, suspicion *Suspicion) {
	var rest []*entity
	for _, e := range missing {
		if e.missed == accepted {
			absent = append(absent, e)
		} else {
			rest = append(rest, e)
		}
	}
	present -= len(absent)
	if present > shrinkAbove && seen*100 < present*(100-shrinkPercent) {
		doubt := keysDigest(rest)
		if c.agreed == 0 || c.doubt != doubt {
			c.doubt, c.agreed = doubt, 0
		}
		c.agreed++
		for _, e := range rest {
			e.doubted = true
		}
		if c.agreed >= believeShrink {
			return append(absent, rest...), nil
		}
		return absent, &Suspicion{Container: c.name, Known: present, Seen: seen}
	}
	c.agreed = 0
	for _, e := range rest {
		e.doubted = false
		if e.missed < believeAbsence {
			e.missed++
		}
		if e.missed >= believeAbsence {
			absent = append(absent, e)
		}
	}
	return absent, nil
}

// accept believes all suspect scans, and returns how many there are.
func (b *book) accept(mine func(container string) bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, c := range b.containers {
		if c.agreed == 0 || !mine(c.name) {
			continue
		}
		n++
		for _, e := range c.members {
			if e.doubted {
				e.missed = accepted
			}
		}
	}
	return n
}

// startOver forgets what scans of a poller missed: others may have seen it
// since. What an operator accepted is forgotten too, as it was of those scans.
func (b *book) startOver(poller string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.containers {
		if c.by != poller {
			continue
		}
		c.agreed = 0
		for _, e := range c.members {
			e.missed, e.doubted = 0, false
		}
	}
}

// keysDigest tells sets of entities apart, whatever their order.
func keysDigest(entities []*entity) digest {
	var all digest
	for _, e := range entities {
		for i, b := range digestOf([]byte(e.key)) {
			all[i] ^= b
		}
	}
	return all
}

// missing returns the keys of the entities of a container that a scan didn't
// see yet.
func (b *book) missing(name string, scan uint32, otherwise map[string]*sighting) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.containers[name]
	if c == nil {
		return nil
	}
	entities, _ := c.missing(scan, otherwise)
	keys := make([]string, len(entities))
	for i, e := range entities {
		keys[i] = e.key
	}
	slices.Sort(keys)
	return keys
}

// renew forgets everything if it is of another generation.
func (b *book) renew(generation string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.generation != generation {
		b.generation = generation
		clear(b.entities)
		clear(b.containers)
	}
}

// unmarked returns those containers of which it isn't known that they were
// seen completely before.
func (b *book) unmarked(names []string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var unmarked []string
	for _, name := range names {
		if !b.container(name).marked {
			unmarked = append(unmarked, name)
		}
	}
	return unmarked
}

// scanned notes when a complete scan of containers began.
func (b *book) scanned(names []string, began time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		b.container(name).last = began
	}
}

// mark notes when a container was seen completely for the first time.
func (b *book) mark(name string, first time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.container(name)
	c.marked = true
	if c.last.IsZero() {
		c.last = first
	}
}
