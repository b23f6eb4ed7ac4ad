package journal

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Readmit stores a delivery once more that an operator released from
// quarantine, and returns once it is fsynced. Its ID stays what it was, and it
// claims nothing. Doing it twice stores it twice, which is harmless: what was
// told is not told again.
//
// It fails as [Journal.Append] does, before it has written anything.
func (j *Journal) Readmit(ctx context.Context, d handlers.Delivery, r handlers.Release) error {
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
	d.Release = &r
	plain := appendDelivery(nil, &d)
	size := int64(len(plain) + sealOverhead)
	if j.bytes.Add(size) > j.maxBytes {
		j.bytes.Add(-size)
		return ErrFull
	}
	// It waits since now, whenever it arrived.
	d.Received = time.Now()
	j.store(&d, plain, nil, nil)
	return nil
}

func appendRelease(b []byte, r *handlers.Release) []byte {
	b = binary.AppendUvarint(b, r.Record)
	b = appendTime(b, r.Time)
	for _, s := range [...]string{string(r.Reason), r.Actor, r.Action} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func readRelease(b []byte) (_ *handlers.Release, rest []byte, ok bool) {
	record, w := binary.Uvarint(b)
	if w <= 0 {
		return nil, nil, false
	}
	at, b, ok := readTime(b[w:])
	if !ok {
		return nil, nil, false
	}
	var parts [3]string
	for i := range parts {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, nil, false
		}
		parts[i], b = string(b[w:w+int(n)]), b[w+int(n):]
	}
	return &handlers.Release{
		Record: record, Reason: schemas.Reason(parts[0]), Actor: parts[1], Action: parts[2], Time: at,
	}, b, true
}
