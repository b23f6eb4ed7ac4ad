package corastone

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// maxText is how long keys and statuses may be.
const maxText = 200

// maxDrift is how much drift one entry may tell: all of it, unless somebody
// fills an entry with it.
const maxDrift = 32

// maxDigits is how many digits the name of a field may have and be told.
const maxDigits = 4

// translation is the state of translating one entry.
type translation struct {
	delivery handlers.Delivery
	drift    []schemas.Drift
	// hidden says that the open event leaves something out, so that it needs a
	// twin with what the platform said.
	hidden bool
}

// translate makes an event of a Sequence Entry.
func translate(d handlers.Delivery, native jsontext.Value) (schemas.Event, []schemas.Drift, error) {
	t := translation{delivery: d}
	var e entry
	if err := json.Unmarshal(native, &e); err != nil {
		return schemas.Event{}, nil, unreadable(native, err)
	}
	event, err := t.entry(e)
	if err != nil {
		return schemas.Event{}, nil, err
	}
	if t.hidden {
		event.Restricted = &schemas.Restricted{Native: native.Clone()}
	}
	return event, t.drift, nil
}

// unreadable says why an entry could not be decoded.
func unreadable(native jsontext.Value, err error) error {
	var wrong *json.SemanticError
	switch {
	case !native.IsValid() || !errors.As(err, &wrong):
		return unusable(schemas.ReasonBadJSON, "entry is not strict JSON")
	case wrong.JSONPointer == "":
		return unusable(schemas.ReasonUnknownKind, "entry is not an object")
	}
	// The pointer consists of names that the native shapes have: what is below
	// another name is never decoded.
	return mistyped(strings.ReplaceAll(string(wrong.JSONPointer[1:]), "/", "."))
}

func (t *translation) entry(e entry) (event schemas.Event, err error) {
	kinds := 0
	for _, said := range []bool{e.Transaction != nil, e.Orchestration != nil, e.Error != nil, isSaid(e.Job)} {
		if said {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return event, unusable(schemas.ReasonUnknownKind, "entry has none of transaction, orchestration, error, job")
	case kinds > 1:
		return event, invalid("entry has more than one of transaction, orchestration, error, job")
	case e.Transaction != nil:
		event, err = t.transaction(e.Transaction)
	case e.Orchestration != nil:
		event, err = t.orchestration(e.Orchestration)
	case e.Error != nil:
		event, err = t.loggedError(e.Error)
	default:
		event, err = t.job(e.Job)
	}
	t.unknown("", e.Unknown)
	return event, err
}

func isSaid(v jsontext.Value) bool { return len(v) > 0 && v.Kind() != jsontext.KindNull }

// time returns a time of the platform, or "". A form that isn't known is
// drift, not a reason to lose the entry.
func (t *translation) time(path string, m moment) string {
	if m.unknown {
		t.strange(path, "")
	}
	return m.at
}

// unknown notes the members of object as drift.
func (t *translation) unknown(path string, object jsontext.Value) {
	if len(object) == 0 {
		return
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(object)) // its syntax was checked
	for {
		token, err := dec.ReadToken()
		switch {
		case err != nil || token.Kind() == jsontext.KindEndObject:
			return
		case token.Kind() == jsontext.KindBeginObject:
			continue
		}
		t.strange(path, token.String())
		if dec.SkipValue() != nil {
			return
		}
	}
}

// strange notes that there is something that the vocabulary has no place for,
// so that the twin must tell it. Its value may be anything, personal data too;
// so may a name that doesn't look like one, which then becomes "*".
func (t *translation) strange(path, name string) {
	t.hidden = true
	switch {
	case name == "":
	case !identifier(name):
		path += ".*"
	default:
		path += "." + name
	}
	t.note(schemas.Drift{Platform: Name, Path: strings.TrimPrefix(path, ".")})
}

// status flags an event whose status the vocabulary has no word for.
func (t *translation) status(e *schemas.Event, known bool, path, status string) {
	if !known {
		e.Unknown = true
		t.note(schemas.Drift{Platform: Name, Path: path, Value: &status})
	}
}

func (t *translation) note(d schemas.Drift) {
	noted := slices.ContainsFunc(t.drift, func(other schemas.Drift) bool { return other.Path == d.Path })
	if !noted && len(t.drift) < maxDrift {
		t.drift = append(t.drift, d)
	}
}

// identifier reports whether name looks like what programmers call a field,
// and not like a number that somebody has: an IBAN is made of the same
// characters.
func identifier(name string) bool {
	digits := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && c >= '0' && c <= '9':
			digits++
		default:
			return false
		}
	}
	return name != "" && len(name) <= 64 && digits <= maxDigits
}

// required fails if the text at path is empty or too long for a key.
func required(path, s string) error {
	if s == "" {
		return invalid(path + " is missing or empty")
	}
	if utf8.RuneCountInString(s) > maxText {
		return invalid(path + " is too long")
	}
	return nil
}

func mistyped(path string) error { return invalid(path + " " + errShape.Error()) }

// optional returns nil for an empty text, which says as much as none.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
