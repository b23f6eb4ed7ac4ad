package schemas

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
)

// Stream is the name of a JetStream stream.
type Stream string

// The streams.
const (
	StreamEvents     Stream = "POSTERN_EVENTS"     // events without personal data
	StreamRestricted Stream = "POSTERN_RESTRICTED" // twins that not everybody may see
	StreamRaw        Stream = "POSTERN_RAW"        // every authenticated delivery, sealed
	StreamQuarantine Stream = "POSTERN_QUARANTINE" // deliveries that could not become events, sealed
	StreamRejected   Stream = "POSTERN_REJECTED"   // the last refused pushes, sealed
	StreamOps        Stream = "POSTERN_OPS"        // platform.* events and operators' actions
	StreamReplay     Stream = "POSTERN_REPLAY"     // what a replay publishes again
)

// Streams lists all streams.
func Streams() []Stream {
	return []Stream{
		StreamEvents, StreamRestricted, StreamRaw, StreamQuarantine,
		StreamRejected, StreamOps, StreamReplay,
	}
}

// Prefix returns what every subject of the stream begins with, without the
// last dot: "postern.events".
func (s Stream) Prefix() string {
	return "postern." + strings.ToLower(strings.TrimPrefix(string(s), "POSTERN_"))
}

// Buckets of the key-value store.
const (
	BucketState   = "postern_state"
	BucketCursors = "postern_cursors"
	BucketLeases  = "postern_leases"
)

// SourceName is what the name of a source looks like. It is a route, a subject
// token and a metric label.
var SourceName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// ReservedSource is the source of operators' actions; no configured source may
// have its name.
const ReservedSource = "postern"

// Token returns s if it can stand in a subject as it is, and otherwise "=" and
// 22 characters of the base64url of its SHA-256.
func Token(s string) string {
	if s != "" && only(s, isTokenByte) {
		return s
	}
	return hashed(s)
}

// IDPart returns s in lower case if it can stand in an event id as it is, and
// otherwise hashes its lower case like [Token]. Ids are restricted because
// they travel in a header, where NATS clients rewrite CR and LF.
func IDPart(s string) string {
	s = strings.ToLower(s)
	if s != "" && only(s, func(c byte) bool { return c == '.' || isTokenByte(c) }) {
		return s
	}
	return hashed(s)
}

func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "=" + base64.RawURLEncoding.EncodeToString(sum[:])[:22]
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func only(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
