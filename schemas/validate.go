package schemas

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/go-playground/validator/v10"
)

// ErrInvalid is wrapped by every error that [Event.Validate] returns.
var ErrInvalid = errors.New("event is invalid")

// ErrUnpublishable is wrapped by errors that say that the bus will never take
// a message as it is, however often it is offered.
var ErrUnpublishable = errors.New("message can never be published")

var eventID = regexp.MustCompile(`^[A-Za-z0-9:._=-]+$`)

// timeText is the form of RFC 3339, section 5.6. Go's parser alone also takes
// a comma before the fraction, an hour of one digit and an offset of 24 hours,
// which other languages' parsers refuse.
var timeText = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// IsTime reports whether s is a time that every consumer can read: RFC 3339 to
// the letter, with T and Z in upper case, and no leap second, which most
// languages can't hold.
func IsTime(s string) bool {
	_, err := time.Parse(time.RFC3339, s)
	return err == nil && timeText.MatchString(s)
}

var validate = func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	must := func(tag string, ok func(string) bool) {
		if err := v.RegisterValidation(tag, func(fl validator.FieldLevel) bool { return ok(fl.Field().String()) }); err != nil {
			panic(err)
		}
	}
	must("eventid", eventID.MatchString)
	must("source", SourceName.MatchString)
	must("eventtype", func(s string) bool { return Type(s).Known() })
	must("rfc3339", IsTime)
	return v
}()

// Validate returns nil only if e may be published. Its errors name fields and
// rules, never values: those may be personal.
func (e Event) Validate() error {
	err := validate.Struct(e)
	if err == nil {
		return nil
	}
	var fields validator.ValidationErrors
	if !errors.As(err, &fields) {
		return fmt.Errorf("%w: it can't be checked", ErrInvalid)
	}
	first := fields[0]
	return fmt.Errorf("%w: %s breaks the rule %q", ErrInvalid, first.StructNamespace(), first.Tag())
}
