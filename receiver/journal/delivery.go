package journal

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// deliveryFormat is the first byte of an encoded delivery. Who meets a newer
// one fails, so that a field that it doesn't know is never dropped.
const deliveryFormat = 1

const (
	flagStale = 1 << iota
	flagConflict
	flagReleased // a release stands before the strings
	flagChanges

	flagsKnown = flagStale | flagConflict | flagReleased | flagChanges
)

var errDelivery = errors.New("not a delivery, or one of a newer version of Postern")

// appendDelivery encodes all fields of d: the format, flags, the times, the
// release if there is one, the strings with their lengths, and the payload up
// to the end.
func appendDelivery(b []byte, d *handlers.Delivery) []byte {
	var flags byte
	if d.Stale {
		flags |= flagStale
	}
	if d.Conflict {
		flags |= flagConflict
	}
	if d.Release != nil {
		flags |= flagReleased
	}
	if d.Changes {
		flags |= flagChanges
	}
	b = append(b, deliveryFormat, flags)
	b = appendTime(b, d.Received)
	b = appendTime(b, d.Sent)
	if d.Release != nil {
		b = appendRelease(b, d.Release)
	}
	for _, s := range [...]string{d.ID, d.Source, d.Platform, string(d.Channel), d.Role, d.Owner, d.View} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return append(b, d.Payload...)
}

// decodeDelivery reads what appendDelivery wrote. The payload is a part of b.
func decodeDelivery(b []byte) (handlers.Delivery, error) {
	if len(b) < 2 || b[0] != deliveryFormat || b[1]&^flagsKnown != 0 {
		return handlers.Delivery{}, errDelivery
	}
	d := handlers.Delivery{Stale: b[1]&flagStale != 0, Conflict: b[1]&flagConflict != 0, Changes: b[1]&flagChanges != 0}
	rest := b[2:]
	var ok bool
	if d.Received, rest, ok = readTime(rest); !ok {
		return handlers.Delivery{}, errDelivery
	}
	if d.Sent, rest, ok = readTime(rest); !ok {
		return handlers.Delivery{}, errDelivery
	}
	if b[1]&flagReleased != 0 {
		if d.Release, rest, ok = readRelease(rest); !ok {
			return handlers.Delivery{}, errDelivery
		}
	}

	// One string for all of them costs one allocation instead of seven.
	var ends [7]int
	var lens [7]int
	end := 0
	for i := range ends {
		n, w := binary.Uvarint(rest[end:])
		if w <= 0 || n > uint64(len(rest)-end-w) {
			return handlers.Delivery{}, errDelivery
		}
		end += w + int(n)
		ends[i], lens[i] = end, int(n)
	}
	all := string(rest[:end])
	part := func(i int) string { return all[ends[i]-lens[i] : ends[i]] }
	d.ID, d.Source, d.Platform = part(0), part(1), part(2)
	d.Channel = schemas.Channel(part(3))
	d.Role, d.Owner, d.View = part(4), part(5), part(6)
	if payload := rest[end:]; len(payload) > 0 {
		d.Payload = payload[:len(payload):len(payload)]
	}
	return d, nil
}

// appendTime writes seconds since the year 1, which is 0 for the zero time,
// and nanoseconds.
func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix()-time.Time{}.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

func readTime(b []byte) (t time.Time, rest []byte, ok bool) {
	sec, n := binary.Varint(b)
	if n <= 0 {
		return time.Time{}, nil, false
	}
	nsec, m := binary.Uvarint(b[n:])
	if m <= 0 || nsec >= 1e9 {
		return time.Time{}, nil, false
	}
	return time.Unix(sec+time.Time{}.Unix(), int64(nsec)).UTC(), b[n+m:], true
}
