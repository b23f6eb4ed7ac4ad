package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// formatVersion is the layout of keys and values below. A journal with a newer
// one is refused.
const formatVersion = 1

// The first byte of a key says what it holds. All numbers are big-endian, so
// that keys sort by them.
const (
	prefixEntry    = 'e' // + seq: entry
	prefixClaim    = 'c' // + hash of source and transport id: delivery id and time
	prefixConflict = 'd' // + delivery id: claim and time; a later delivery under a claim, with other content
	prefixFormat   = 'f' // layout version
	prefixTold     = 'i' // + hash of an event id: stream, seq and facets
	prefixToldSeq  = 'j' // + stream + seq: hash of the event id
	prefixDeaths   = 'k' // + seq: how often the process died at this entry
	prefixPosition = 'p' // + stream: how far the index mirrors it
	prefixSuspect  = 's' // range of entries among which one killed the process
	prefixTotals   = 't' // how many entries there are up to a seq
)

// hash16 is the first half of a SHA-256: of public ids, where 128 bits are
// plenty.
type hash16 [16]byte

func (h hash16) String() string { return hex.EncodeToString(h[:]) }

// hashOf hashes parts such that no other list of parts makes the same bytes.
func hashOf(domain byte, parts ...string) hash16 {
	buf := make([]byte, 0, 256)
	buf = append(buf, domain)
	for _, p := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	sum := sha256.Sum256(buf)
	return hash16(sum[:16])
}

// deliveryID is the same on every receiver, because it is made of what the
// sender said only.
func deliveryID(source, transportID string, content [32]byte) hash16 {
	return hashOf('D', source, transportID, string(content[:]))
}

// claimOf returns what a delivery claims, and false if it claims nothing: a
// polled delivery without a transport id. A push without one claims its
// content.
func claimOf(d handlers.Delivery, transportID string, content [32]byte) (hash16, bool) {
	switch {
	case transportID != "":
		return hashOf('T', d.Source, transportID), true
	case d.Channel == schemas.ChannelPush:
		return hashOf('C', d.Source, string(content[:])), true
	default:
		return hash16{}, false
	}
}

func seqKey(prefix byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, seq)
}

func hashKey(prefix byte, h hash16) []byte {
	return append([]byte{prefix}, h[:]...)
}

func toldSeqKey(stream byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixToldSeq, stream}, seq)
}

// An entry's value is the time of arrival in milliseconds, for who asks how
// old the backlog is, and the sealed delivery.
const entryHeader = 8

func entrySealed(value []byte) []byte { return value[entryHeader:] }

func entryTime(value []byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(value))).UTC()
}

// The value of a claim is the id of the delivery that made it, that of a
// conflict the claim it is about; then comes the time in milliseconds.
func claimValue(about hash16, at time.Time) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 24), about[:]...), uint64(at.UnixMilli()))
}

// claimTime returns when a claim or a conflict was made. It is false if the
// value is neither's.
func claimTime(value []byte) (time.Time, bool) {
	if len(value) != 24 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(value[16:]))), true
}

// totals are the entries up to a seq that are not trimmed.
type totals struct {
	upTo    uint64
	entries int64
	bytes   int64
}

// count adds an entry whose value has a size.
func (t *totals) count(seq uint64, size int) {
	t.upTo = seq
	t.entries++
	t.bytes += int64(size - entryHeader)
}

func (t totals) value() []byte {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 24), t.upTo)
	v = binary.BigEndian.AppendUint64(v, uint64(t.entries))
	return binary.BigEndian.AppendUint64(v, uint64(t.bytes))
}

func readTotals(v []byte) (totals, bool) {
	if len(v) != 24 {
		return totals{}, false
	}
	return totals{
		upTo:    binary.BigEndian.Uint64(v),
		entries: int64(binary.BigEndian.Uint64(v[8:])),
		bytes:   int64(binary.BigEndian.Uint64(v[16:])),
	}, true
}
