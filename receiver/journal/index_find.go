package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed75441868/postern/schemas"
)

// Find returns where the event with an id was told, and whether it was: its
// stream, and its sequence number there. That may have gone from the stream
// since.
func (x *Index) Find(id string) (stream schemas.Stream, seq uint64, ok bool, err error) {
	if !x.j.open.enter() {
		return "", 0, false, ErrClosed
	}
	defer x.j.open.leave()
	v, err := x.j.get(hashKey(prefixTold, toldHash(id)))
	if errors.Is(err, pebble.ErrNotFound) {
		return "", 0, false, nil
	}
	if err != nil {
		return "", 0, false, fmt.Errorf("find an event: %w", x.damage(err))
	}
	if len(v) < 9 {
		return "", 0, false, fmt.Errorf("find an event: %w", x.broken())
	}
	for _, s := range schemas.Streams() {
		if b, err := streamByte(s); err == nil && b == v[0] {
			return s, binary.BigEndian.Uint64(v[1:9]), true, nil
		}
	}
	return "", 0, false, fmt.Errorf("find an event: %w", x.broken())
}
