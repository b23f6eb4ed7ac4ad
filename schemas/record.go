package schemas

import (
	"strings"
	"time"
)

// Reason says why a delivery is in quarantine. It is a subject token and a
// metric label.
type Reason string

// The reasons.
const (
	ReasonBadJSON       Reason = "bad_json"
	ReasonUnknownKind   Reason = "unknown_kind"
	ReasonInvalidEvent  Reason = "invalid_event"
	ReasonConflict      Reason = "conflict"
	ReasonStale         Reason = "stale"
	ReasonPanic         Reason = "panic"
	ReasonPoison        Reason = "poison"
	ReasonUnpublishable Reason = "unpublishable"
	// ReasonFollowUpFailed is that of an event whose meaning the platform did
	// not tell in time.
	ReasonFollowUpFailed Reason = "follow_up_failed"
)

// Reasons lists all reasons.
func Reasons() []Reason {
	return []Reason{
		ReasonBadJSON, ReasonUnknownKind, ReasonInvalidEvent, ReasonConflict,
		ReasonStale, ReasonPanic, ReasonPoison, ReasonUnpublishable, ReasonFollowUpFailed,
	}
}

// Record is a sealed delivery on POSTERN_RAW or POSTERN_QUARANTINE.
type Record struct {
	Source     string
	DeliveryID string
	Channel    Channel
	Received   time.Time
	Sealed     []byte
	// Release sets what follows an operator's release apart from what was
	// published before: it is a part of the ids. "" if there was none.
	Release string
}

// Raw returns the record for POSTERN_RAW. The same delivery may be there
// twice; who reads keys on the postern-delivery header.
func (r Record) Raw() Message {
	return r.message(StreamRaw, r.Source, r.released(r.DeliveryID))
}

// Quarantine returns the record for POSTERN_QUARANTINE.
func (r Record) Quarantine(reason Reason) Message {
	m := r.message(StreamQuarantine, r.Source+"."+string(reason), r.released(r.DeliveryID+":"+string(reason)))
	m.Header[HeaderReason] = []string{string(reason)}
	return m
}

func (r Record) released(id string) string {
	if r.Release == "" {
		return id
	}
	return id + ":" + r.Release
}

func (r Record) message(stream Stream, tail, id string) Message {
	return Message{
		Stream:  stream,
		Subject: stream.Prefix() + "." + tail,
		ID:      id,
		Header: map[string][]string{
			HeaderMsgID:    {id},
			HeaderDelivery: {r.DeliveryID},
			HeaderChannel:  {string(r.Channel)},
			HeaderReceived: {FormatTime(r.Received)},
		},
		Body: r.Sealed,
	}
}

// Rejected is a sealed push that was refused, on POSTERN_REJECTED.
type Rejected struct {
	Source   string
	ID       string // any that is its own
	Reason   string
	Detail   string // what was wrong, in our words
	Received time.Time
	Sealed   []byte
}

// Message returns the record as it is published.
func (r Rejected) Message() Message {
	id := r.Source + ":" + r.ID
	return Message{
		Stream:  StreamRejected,
		Subject: StreamRejected.Prefix() + "." + r.Source,
		ID:      id,
		Header: map[string][]string{
			HeaderMsgID:    {id},
			HeaderReason:   {r.Reason},
			HeaderDetail:   {headerText(r.Detail)},
			HeaderReceived: {FormatTime(r.Received)},
		},
		Body: r.Sealed,
	}
}

// maxDetail is how long a text in a header may be.
const maxDetail = 200

// headerText returns s as a header can carry it unchanged: printable ASCII,
// cut, without spaces around it.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return strings.TrimSpace(s[:min(len(s), maxDetail)])
}
