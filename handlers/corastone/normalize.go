package corastone

import (
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// normalize implements the Normalize of [handlers.Platform].
func normalize(d handlers.Delivery) (handlers.Output, error) {
	switch {
	case d.Changes:
		return normalizeChange(d)
	case d.Role == RoleEntry:
		return normalizeEntries(d, d.Payload)
	case d.Role == RoleStep:
		return normalizeStep(d)
	case d.Role == RoleReasons:
		return normalizeReasons(d)
	case d.Role == RoleFailure:
		return normalizeFailure(d)
	case d.Role == RoleDetails:
		return normalizeDetails(d)
	}
	e, problem := parseEnvelope(d.Payload)
	if problem != "" {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "envelope: "+problem)
	}
	switch {
	case e.role() != d.Role:
		return handlers.Output{}, unusable(schemas.ReasonUnknownKind, "role is not that of the envelope's Type")
	case d.Role == RoleNotification:
		return normalizeEntries(d, []byte(*e.Message))
	}
	return handlers.Output{Events: []schemas.Event{subscription(d, e)}}, nil
}

// normalizeEntries translates an entry, or a list of entries: the API's guide
// shows some bodies both ways.
func normalizeEntries(d handlers.Delivery, data jsontext.Value) (handlers.Output, error) {
	if !plain(data) {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "entry is nested too deep or has characters that SNS doesn't carry")
	}
	if data.Kind() != jsontext.KindBeginArray {
		event, drift, err := translate(d, data)
		if err != nil {
			return handlers.Output{}, err
		}
		return handlers.Output{Events: []schemas.Event{event}, Drift: drift}, nil
	}
	var list []jsontext.Value
	if err := json.Unmarshal(data, &list); err != nil {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "entry is not strict JSON")
	}
	if len(list) == 0 {
		return handlers.Output{}, unusable(schemas.ReasonUnknownKind, "list has no entry")
	}
	var out handlers.Output
	seen := make(map[string]bool, len(list))
	for _, native := range list {
		event, drift, err := translate(d, native)
		if err != nil {
			return handlers.Output{}, err
		}
		if seen[event.ID] {
			return handlers.Output{}, invalid("list has two entries of the same id")
		}
		seen[event.ID] = true
		out.Events = append(out.Events, event)
		out.Drift = append(out.Drift, drift...)
	}
	return out, nil
}

// subscription translates a confirmation. Token, SubscribeURL and
// UnsubscribeURL are secrets: who has them can start or end a subscription.
func subscription(d handlers.Delivery, e envelope) schemas.Event {
	typ, data := schemas.PlatformPushEnded, schemas.Subscription{Platform: Name, Topic: e.TopicARN}
	sent, _ := handlers.Time(e.Timestamp)
	if d.Role == RoleConfirmation {
		typ = schemas.PlatformConfirmationRequested
		// SNS forgets an unconfirmed subscription after two days (developer
		// guide, Deleting a subscription and topic).
		if t, err := time.Parse(time.RFC3339, sent); err == nil {
			deadline := schemas.FormatTime(t.AddDate(0, 0, 2))
			data.Deadline = &deadline
		}
	}
	key := e.TopicARN
	if utf8.RuneCountInString(key) > maxText {
		key = schemas.Token(key)
	}
	return newEvent(d, typ, key, sent, data, e.TopicARN, e.MessageID, typ.Event())
}

// newEvent makes an event of what all events have. Where the platform gives no
// time it is that of the telling.
func newEvent(d handlers.Delivery, typ schemas.Type, key, at string, data schemas.Data, idParts ...string) schemas.Event {
	if at == "" {
		told := d.Sent
		if told.IsZero() {
			told = d.Received
		}
		at = schemas.FormatTime(told)
	}
	id := d.Source + ":" + typ.Entity()
	for _, part := range idParts {
		id += ":" + schemas.IDPart(part)
	}
	return schemas.Event{
		ID: id, Source: d.Source, Type: typ, Key: key,
		Time: at, Recorded: d.Received, DeliveryID: d.ID, Channel: d.Channel,
		Data: data,
	}
}

func invalid(detail string) error { return unusable(schemas.ReasonInvalidEvent, detail) }

func unusable(reason schemas.Reason, detail string) error {
	return &handlers.UnusableError{Reason: reason, Detail: detail}
}
