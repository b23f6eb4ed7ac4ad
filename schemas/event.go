package schemas

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Event is one thing that happened. It is a function of the fact: its id holds
// no clock and no random number, so the same fact has the same id however
// often and by whichever way it was told.
type Event struct {
	ID            string    `validate:"required,eventid,max=512"` // "corastone:process:8d45…:success"
	Source        string    `validate:"required,source"`          // name of the configured source
	Type          Type      `validate:"required,eventtype"`
	Key           string    `validate:"required,max=200"` // key of the entity, as the platform writes it
	Time          string    `validate:"required,rfc3339"` // the platform's time, as it said it
	Recorded      time.Time `validate:"required"`         // when Postern heard of it
	Sequence      string    // the platform's order, "" where it has none
	DeliveryID    string    `validate:"required_with=Channel"` // "" only if no delivery told it: on POSTERN_OPS
	CorrelationID string    // orchestrationId, "" if unknown
	CausationID   string    // id of the event whose follow-up found this one, or ""
	Channel       Channel   `validate:"required_with=DeliveryID"`
	Unknown       bool      // a value is outside the vocabulary: data.known is false
	Data          Data      `validate:"required"`
	// Restricted is what not everybody may see. If it is not nil the event
	// has a twin on POSTERN_RESTRICTED.
	Restricted *Restricted
}

// Restricted is what a twin has beyond its open event.
type Restricted struct {
	Personal any            // personal data in the vocabulary's words, or nil
	Native   jsontext.Value // what the platform said, verbatim, or nil
}

// Channel says how a delivery reached us.
type Channel string

// The channels.
const (
	ChannelPush     Channel = "push"
	ChannelPoll     Channel = "poll"
	ChannelReplay   Channel = "replay"
	ChannelBackfill Channel = "backfill"
)

// Names of the headers that Postern sets. NATS keeps the case of header names
// and clients compare it.
const (
	HeaderMsgID       = "Nats-Msg-Id"
	HeaderContentType = "content-type"
	HeaderChannel     = "postern-channel"
	HeaderDelivery    = "postern-delivery"
	HeaderReceived    = "postern-received"
	HeaderReason      = "postern-reason"
	HeaderDetail      = "postern-detail"
	// HeaderFacets carries an event's facets, so that who reads headers only
	// can tell whether a later telling agrees.
	HeaderFacets = "postern-facets"
)

// ContentType is the media type of an event's body: structured CloudEvents
// JSON (CloudEvents NATS protocol binding 1.0.2).
const ContentType = "application/cloudevents+json"

// timeLayout writes the times that are ours.
const timeLayout = "2006-01-02T15:04:05.000Z"

// FormatTime writes a time that is ours: RFC 3339, UTC, milliseconds.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// Message is something to publish.
type Message struct {
	Stream  Stream
	Subject string
	ID      string // Nats-Msg-Id
	Header  map[string][]string
	Body    []byte
}

// Facets returns what the message's headers say of the facts in it.
func (m Message) Facets() Facets {
	if f := m.Header[HeaderFacets]; len(f) > 0 {
		return ParseFacets(f[0])
	}
	return Facets{}
}

// Size returns what the server counts against max_payload: body and headers.
func (m Message) Size() int {
	n := len(m.Body) + len("NATS/1.0\r\n\r\n")
	for name, values := range m.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// cloudEvent is the body, in the order in which it is printed.
type cloudEvent struct {
	SpecVersion     string         `json:"specversion" doc:"The version of CloudEvents."`
	ID              string         `json:"id" doc:"The fact's id: the same whenever and however it is told. A restricted twin's ends in :restricted."`
	Source          string         `json:"source" doc:"The source in Postern's configuration: /postern/ and its name."`
	Type            string         `json:"type" doc:"What happened."`
	Subject         string         `json:"subject" doc:"The entity and its key."`
	Time            string         `json:"time" doc:"When it happened, as the platform said it; where the platform has no time, when it was observed."`
	RecordedTime    string         `json:"recordedtime" doc:"When Postern heard of it."`
	DataContentType string         `json:"datacontenttype" doc:"The media type of data."`
	DataSchema      string         `json:"dataschema" doc:"The id of this schema."`
	Sequence        string         `json:"sequence,omitempty" doc:"The platform's order: a ledger's channel and block, or a revision. Comparable as text within a channel; blocks can be equal."`
	DeliveryID      string         `json:"deliveryid,omitempty" doc:"The delivery that told it, on POSTERN_RAW."`
	CorrelationID   string         `json:"correlationid,omitempty" doc:"The orchestrationId."`
	CausationID     string         `json:"causationid,omitempty" doc:"The id of the event whose follow-up found this one."`
	Data            jsontext.Value `json:"data" doc:"What the platform said, in the vocabulary's words."`
}

// Messages returns the event as it is published: one message, or two when it
// has a restricted twin. The same event gives the same bytes. It fails only if
// the event can't be written as JSON, with an error that wraps
// [ErrUnpublishable] and holds none of the event's values.
func (e Event) Messages() ([]Message, error) {
	data, err := encode(e.Data)
	if err != nil {
		return nil, err
	}
	if e.Unknown {
		data = withMember(data, "known", []byte("false"))
	}
	if e.Restricted == nil {
		m, err := e.message(e.Type.Stream(), e.ID, data)
		if err != nil {
			return nil, err
		}
		return []Message{m}, nil
	}
	open, err := e.message(e.Type.Stream(), e.ID, withMember(data, "restricted", []byte("true")))
	if err != nil {
		return nil, err
	}
	if e.Restricted.Personal != nil {
		personal, err := encode(e.Restricted.Personal)
		if err != nil {
			return nil, err
		}
		data = withMember(data, "personal", personal)
	}
	if e.Restricted.Native != nil {
		// Spliced in as it is, it could otherwise bring members of its own.
		native := e.Restricted.Native.Clone()
		if !native.IsValid() || native.Compact() != nil {
			return nil, errNotJSON
		}
		data = withMember(data, "native", native)
	}
	twin, err := e.message(StreamRestricted, e.ID+":restricted", data)
	if err != nil {
		return nil, err
	}
	return []Message{open, twin}, nil
}

// errNotJSON stands for the JSON library's errors, which quote what they
// stumbled over.
var errNotJSON = fmt.Errorf("%w: it can't be written as JSON", ErrUnpublishable)

// encode writes v such that equal values give equal bytes, and raw values keep
// the spelling of their strings and numbers.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.PreserveRawStrings(true))
	if err != nil {
		return nil, errNotJSON
	}
	return b, nil
}

// withMember returns object with one more member at its end.
func withMember(object []byte, name string, value []byte) []byte {
	object = bytes.TrimSuffix(bytes.TrimSpace(object), []byte("}"))
	var b bytes.Buffer
	b.Grow(len(object) + len(name) + len(value) + 5)
	b.Write(object)
	if !bytes.HasSuffix(object, []byte("{")) {
		b.WriteByte(',')
	}
	b.WriteString(`"` + name + `":`)
	b.Write(value)
	b.WriteByte('}')
	return b.Bytes()
}

func (e Event) message(stream Stream, id string, data []byte) (Message, error) {
	ce := cloudEvent{
		SpecVersion:     "1.0",
		ID:              id,
		Source:          "/postern/" + e.Source,
		Type:            "postern." + e.Type.Versioned(),
		Subject:         e.Type.Entity() + "/" + e.Key,
		Time:            e.Time,
		RecordedTime:    FormatTime(e.Recorded),
		DataContentType: "application/json",
		DataSchema:      "urn:postern:schema:" + e.Type.Versioned(),
		Sequence:        e.Sequence,
		DeliveryID:      e.DeliveryID,
		CorrelationID:   e.CorrelationID,
		CausationID:     e.CausationID,
	}
	body, err := encode(ce)
	if err != nil {
		return Message{}, err
	}
	// Data is the last member, and JSON already: it isn't written once more.
	body = append(append(bytes.TrimSuffix(body, []byte("null}")), data...), '}')
	m := Message{
		Stream:  stream,
		Subject: e.subject(stream),
		ID:      id,
		Header: map[string][]string{
			HeaderMsgID:       {id},
			HeaderContentType: {ContentType},
			"ce-id":           {id},
			"ce-type":         {ce.Type},
			"ce-source":       {ce.Source},
			"ce-subject":      {headerValue(ce.Subject)},
			"ce-time":         {ce.Time},
		},
		Body: body,
	}
	if e.Channel != "" {
		m.Header[HeaderChannel] = []string{string(e.Channel)}
	}
	if facets := e.Data.Facets(); len(facets) > 0 {
		m.Header[HeaderFacets] = []string{facets.String()}
	}
	return m, nil
}

func (e Event) subject(stream Stream) string {
	if stream == StreamOps {
		return stream.Prefix() + "." + e.Source + "." + e.Type.Event()
	}
	return strings.Join([]string{stream.Prefix(), e.Source, e.Type.Entity(), e.Type.Event(), Token(e.Key)}, ".")
}

// headerValue percent-encodes what may not stand in a CloudEvents header:
// space, quote, percent and everything that is not printable ASCII (CloudEvents
// NATS protocol binding, section 3.1.3.2).
func headerValue(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '"' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
