package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed75441868/postern/schemas"
)

// Index says what was told, by event id. It mirrors streams of the bus, is fed
// from them, and can always be rebuilt from them: nothing in it is synced. Its
// methods are safe for concurrent use.
type Index struct {
	j   *Journal
	ids *filter

	mu      sync.Mutex
	streams map[byte]*mirror
}

// mirror is what the index knows of a stream.
type mirror struct {
	pos     Position
	expired uint64 // nothing is left before
	// noted are messages behind pos.Last that are in the index: the relay
	// notes what it publishes, and later hears of it from the stream again.
	noted map[uint64]struct{}
}

// maxNoted bounds mirror.noted; who exceeds it writes some ids twice.
const maxNoted = 1 << 16

// Told is an event that is on a stream.
type Told = schemas.Heading

// Position says how far the index mirrors a stream.
type Position struct {
	// Created identifies the stream: one of the same name that was created at
	// another time is another. It is zero until Reset sets it.
	Created time.Time
	// Last is the sequence number up to which all that was told is noted.
	Last uint64
}

// streamByte is how a stream is written in keys. It never changes.
func streamByte(s schemas.Stream) (byte, error) {
	switch s {
	case schemas.StreamEvents:
		return 1, nil
	case schemas.StreamRestricted:
		return 2, nil
	case schemas.StreamRaw:
		return 3, nil
	case schemas.StreamQuarantine:
		return 4, nil
	case schemas.StreamRejected:
		return 5, nil
	case schemas.StreamOps:
		return 6, nil
	case schemas.StreamReplay:
		return 7, nil
	default:
		return 0, errors.New("the index doesn't know this stream")
	}
}

// openIndex reads the positions.
func openIndex(j *Journal) (*Index, error) {
	x := &Index{j: j, ids: newFilter(prefixTold), streams: make(map[byte]*mirror)}
	for _, s := range schemas.Streams() {
		b, err := streamByte(s)
		if err != nil {
			return nil, err
		}
		m := &mirror{noted: make(map[uint64]struct{})}
		v, err := j.get([]byte{prefixPosition, b})
		switch {
		case errors.Is(err, pebble.ErrNotFound):
		case pebble.IsCorruptionError(err):
			_ = x.damage(err) // and mirrors nobody
		case err != nil:
			return nil, err
		default:
			if m.pos, err = readPosition(v); err != nil {
				return nil, err
			}
		}
		x.streams[b] = m
	}
	return x, nil
}

func (p Position) value() []byte {
	return appendTime(binary.BigEndian.AppendUint64(nil, p.Last), p.Created)
}

func readPosition(v []byte) (Position, error) {
	if len(v) < 8 {
		return Position{}, fmt.Errorf("%w: a position of the index", ErrDamaged)
	}
	created, rest, ok := readTime(v[8:])
	if !ok || len(rest) > 0 {
		return Position{}, fmt.Errorf("%w: a position of the index", ErrDamaged)
	}
	return Position{Created: created, Last: binary.BigEndian.Uint64(v)}, nil
}

// A told event's value is its stream, its sequence number there and its
// facets.
func toldValue(stream byte, t Told) []byte {
	v := append(make([]byte, 0, 9+len(t.Facets)), stream)
	v = binary.BigEndian.AppendUint64(v, t.Seq)
	return append(v, t.Facets...)
}

func toldHash(id string) hash16 { return hashOf('E', id) }

// enter finds a stream's mirror and keeps the journal open and the index to
// the caller until leave is called.
func (x *Index) enter(s schemas.Stream) (stream byte, m *mirror, leave func(), err error) {
	stream, err = streamByte(s)
	if err != nil {
		return 0, nil, nil, err
	}
	if !x.j.open.enter() {
		return 0, nil, nil, ErrClosed
	}
	x.mu.Lock()
	return stream, x.streams[stream], func() { x.mu.Unlock(); x.j.open.leave() }, nil
}

// Lookup returns the facets of the event with an id, and whether it was told.
func (x *Index) Lookup(id string) (facets string, ok bool, err error) {
	if !x.j.open.enter() {
		return "", false, ErrClosed
	}
	defer x.j.open.leave()
	hash := toldHash(id)
	if !x.ids.may(hash) {
		return "", false, nil
	}
	v, closer, err := x.j.db.Get(hashKey(prefixTold, hash))
	if errors.Is(err, pebble.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look an event up: %w", x.damage(err))
	}
	if len(v) < 9 {
		return "", false, errors.Join(fmt.Errorf("look an event up: %w", x.broken()), closer.Close())
	}
	facets = string(v[9:])
	return facets, true, closer.Close()
}

// Position returns how far the index mirrors a stream.
func (x *Index) Position(s schemas.Stream) (Position, error) {
	_, m, leave, err := x.enter(s)
	if err != nil {
		return Position{}, err
	}
	defer leave()
	return m.pos, nil
}

// Apply notes events that are on a stream, and that with them all up to last
// are noted. A last that is not behind Position.Last leaves that as it is; who
// knows only of events of his own passes 0. All of it is there after a crash
// or nothing. It is safe to repeat, and cheap for what is noted already.
func (x *Index) Apply(s schemas.Stream, told []Told, last uint64) error {
	stream, m, leave, err := x.enter(s)
	if err != nil {
		return fmt.Errorf("note what was told: %w", err)
	}
	defer leave()
	b := x.j.db.NewBatch()
	fresh := make([]hash16, 0, len(told))
	for _, t := range told {
		known, err := x.known(stream, m, t)
		if err == nil && !known {
			hash := toldHash(t.ID)
			fresh = append(fresh, hash)
			err = errors.Join(
				b.Set(hashKey(prefixTold, hash), toldValue(stream, t), nil),
				b.Set(toldSeqKey(stream, t.Seq), hash[:], nil))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("note what was told: %w", err), b.Close())
		}
	}
	pos := m.pos
	if last > pos.Last {
		pos.Last = last
		if err := b.Set([]byte{prefixPosition, stream}, pos.value(), nil); err != nil {
			return errors.Join(fmt.Errorf("note what was told: %w", err), b.Close())
		}
	}
	if b.Empty() {
		return b.Close()
	}
	x.j.commit(b, pebble.NoSync)
	for _, hash := range fresh {
		x.ids.add(hash)
	}
	m.advance(pos, told)
	return nil
}

// known reports whether an event is in the index as it is told.
func (x *Index) known(stream byte, m *mirror, t Told) (bool, error) {
	if t.Seq > m.pos.Last {
		_, ok := m.noted[t.Seq]
		return ok, nil
	}
	v, closer, err := x.j.db.Get(toldSeqKey(stream, t.Seq))
	if errors.Is(err, pebble.ErrNotFound) {
		return t.Seq < m.expired, nil
	}
	if err != nil {
		return false, x.damage(err)
	}
	same := len(v) == 16 && hash16(v) == toldHash(t.ID)
	return same, closer.Close()
}

// advance moves the position and remembers what was told behind it.
func (m *mirror) advance(pos Position, told []Told) {
	if pos.Last > m.pos.Last {
		for seq := range m.noted {
			if seq <= pos.Last {
				delete(m.noted, seq)
			}
		}
	}
	m.pos = pos
	for _, t := range told {
		if t.Seq > pos.Last && len(m.noted) < maxNoted {
			m.noted[t.Seq] = struct{}{}
		}
	}
}
