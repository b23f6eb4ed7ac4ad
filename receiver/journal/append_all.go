package journal

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed75441868/postern/handlers"
)

// AppendAll stores deliveries that claim nothing, in their order and with one
// sync, and returns once all of them are durable. It sets their IDs, made of
// their source and the content that stands at the same place in contents. After
// a crash all of them are there or none. Doing it twice stores them twice.
//
// It fails as [Journal.Append] does, before it has written anything.
func (j *Journal) AppendAll(ctx context.Context, ds []handlers.Delivery, contents [][32]byte) error {
	if len(ds) == 0 {
		return nil
	}
	if !j.open.enter() {
		return ErrClosed
	}
	defer j.open.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := j.disk.check(); err != nil {
		return err
	}
	plain := make([][]byte, len(ds))
	var total int64
	for i := range ds {
		d := ds[i]
		d.ID, d.Conflict = deliveryID(d.Source, "", contents[i]).String(), false
		plain[i] = appendDelivery(nil, &d)
		total += int64(len(plain[i]) + sealOverhead)
	}
	if j.bytes.Add(total) > j.maxBytes {
		j.bytes.Add(-total)
		return ErrFull
	}
	values := make([][]byte, len(ds))
	for i, p := range plain {
		value := binary.BigEndian.AppendUint64(nil, uint64(ds[i].Received.UnixMilli()))
		values[i] = j.keys.seal(value, deliveryContext, ds[i].Received, p)
	}
	b := j.db.NewBatchWithSize(int(total) + len(ds)*(entryHeader+32))
	// From here to finish nothing may fail, or readers would wait for ever.
	seqs := make([]uint64, len(ds))
	for i, value := range values {
		seqs[i] = j.window.begin()
		if err := b.Set(seqKey(prefixEntry, seqs[i]), value, nil); err != nil {
			j.die(fmt.Errorf("fill a batch: %w", err))
		}
	}
	j.commit(b, pebble.Sync)
	j.disk.wrote(int(total))
	for i, seq := range seqs {
		j.window.finish(seq, int64(len(values[i])-entryHeader))
		if seq%totalsEvery == 0 {
			j.nudge()
		}
	}
	return nil
}
