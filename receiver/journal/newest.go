package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed75441868/postern/schemas"
)

// Newest returns the highest sequence number at which the index noted an event
// of a stream, and whether an id is that event's. It is 0 if there is none.
// Position.Last can be behind it: who publishes notes at once, and hears of it
// from the stream later.
func (x *Index) Newest(s schemas.Stream) (seq uint64, is func(id string) bool, err error) {
	stream, _, leave, err := x.enter(s)
	if err != nil {
		return 0, nil, fmt.Errorf("newest of the index: %w", err)
	}
	defer leave()
	it, err := x.j.db.NewIter(&pebble.IterOptions{
		LowerBound: toldSeqKey(stream, 0), UpperBound: []byte{prefixToldSeq, stream + 1},
	})
	if err != nil {
		return 0, nil, fmt.Errorf("newest of the index: %w", err)
	}
	if !it.Last() {
		return 0, nil, x.damage(errors.Join(it.Error(), it.Close()))
	}
	seq = binary.BigEndian.Uint64(it.Key()[2:])
	noted, err := it.ValueAndErr()
	var hash hash16
	copy(hash[:], noted)
	is = func(id string) bool { return toldHash(id) == hash }
	return seq, is, x.damage(errors.Join(err, it.Close()))
}
