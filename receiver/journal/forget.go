package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed75441868/postern/schemas"
)

// forgetChunk is how many ids are forgotten at once.
const forgetChunk = 2048

// Reset forgets everything that a stream told, and that a stream created at
// this time is mirrored from its beginning. A crash midway leaves a position
// without a time of creation, which is nobody's; who finds it resets again.
func (x *Index) Reset(s schemas.Stream, created time.Time) error {
	stream, m, leave, err := x.enter(s)
	if err != nil {
		return fmt.Errorf("reset the index: %w", err)
	}
	defer leave()
	if err := x.setPosition(stream, m, Position{}); err != nil {
		return fmt.Errorf("reset the index: %w", err)
	}
	clear(m.noted)
	if err := x.forget(stream, toldSeqKey(stream, 0), []byte{prefixToldSeq, stream + 1}); err != nil {
		return fmt.Errorf("reset the index: %w", err)
	}
	m.expired = 0
	if err := x.setPosition(stream, m, Position{Created: created}); err != nil {
		return fmt.Errorf("reset the index: %w", err)
	}
	return nil
}

// Expire forgets what a stream told before its message first, because it isn't
// on the stream any more. It is safe to repeat and then costs nothing.
func (x *Index) Expire(s schemas.Stream, first uint64) error {
	stream, m, leave, err := x.enter(s)
	if err != nil {
		return fmt.Errorf("expire the index: %w", err)
	}
	defer leave()
	if first <= m.expired {
		return nil
	}
	if err := x.forget(stream, toldSeqKey(stream, m.expired), toldSeqKey(stream, first)); err != nil {
		return fmt.Errorf("expire the index: %w", err)
	}
	m.expired = first
	return nil
}

func (x *Index) setPosition(stream byte, m *mirror, p Position) error {
	b := x.j.db.NewBatch()
	if err := b.Set([]byte{prefixPosition, stream}, p.value(), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	x.j.commit(b, pebble.NoSync)
	m.pos = p
	return nil
}

// forget removes what is noted in a range of a stream's messages. An id that
// was told again later stays.
func (x *Index) forget(stream byte, from, to []byte) error {
	for {
		next, err := x.forgetSome(stream, from, to)
		if next == nil || err != nil {
			return err
		}
		from = next
	}
}

func (x *Index) forgetSome(stream byte, from, to []byte) (next []byte, err error) {
	it, err := x.j.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	b := x.j.db.NewBatch()
	n := 0
	ok := it.First()
	for ; ok && n < forgetChunk && err == nil; ok = it.Next() {
		err = x.forgetOne(b, stream, it)
		n++
	}
	end := to
	if ok {
		next = append([]byte(nil), it.Key()...)
		end = next
	}
	err = x.damage(errors.Join(err, it.Error(), it.Close()))
	if err == nil && n > 0 {
		err = b.DeleteRange(from, end, nil)
	}
	if err != nil || b.Empty() {
		return nil, errors.Join(err, b.Close())
	}
	x.j.commit(b, pebble.NoSync)
	x.ids.dropped.Add(int64(n))
	return next, nil
}

// forgetOne removes the id that it points at, unless the id's own note is of
// another message.
func (x *Index) forgetOne(b *pebble.Batch, stream byte, it *pebble.Iterator) error {
	seq := it.Key()[2:]
	hash, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	key := append([]byte{prefixTold}, hash...)
	v, closer, err := x.j.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ours := len(v) >= 9 && v[0] == stream && binary.BigEndian.Uint64(v[1:]) == binary.BigEndian.Uint64(seq)
	if err := closer.Close(); err != nil || !ours {
		return err
	}
	return b.Delete(key, nil)
}
