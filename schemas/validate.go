package schemas

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"
)

// ErrInvalid is wrapped by every error that [Event.Validate] returns.
var ErrInvalid = errors.New("event is invalid")

// ErrUnpublishable is wrapped by errors that say that the bus will never take
// a message as it is, however often it is offered.
var ErrUnpublishable = errors.New("message can never be published")

// isEventID reports whether s can travel in a header unchanged.
func isEventID(s string) bool {
	return s != "" && only(s, func(c byte) bool { return isTokenByte(c) || c == ':' || c == '.' || c == '=' })
}

// IsTime reports whether s is a time that every consumer can read: RFC 3339 to
// the letter, with T and Z in upper case, and no leap second, which most
// languages can't hold. Go's parser alone also takes a comma before the
// fraction, an hour of one digit and an offset of 24 hours, which other
// languages' parsers refuse.
func IsTime(s string) bool {
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		return false
	}
	if len(s) < len("2006-01-02T15:04:05Z") || s[13] != ':' || strings.Contains(s, ",") {
		return false
	}
	offset := s[len(s)-len("+00:00"):]
	return s[len(s)-1] == 'Z' || offset[1:3] <= "23" && offset[4:] <= "59"
}

var validate = func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	must := func(tag string, ok func(string) bool) {
		if err := v.RegisterValidation(tag, func(fl validator.FieldLevel) bool { return ok(fl.Field().String()) }); err != nil {
			panic(err)
		}
	}
	must("eventid", isEventID)
	must("source", SourceName.MatchString)
	must("eventtype", func(s string) bool { return Type(s).Known() })
	must("rfc3339", IsTime)
	return v
}()

// Validate returns nil only if e may be published. Its errors name fields and
// rules, never values: those may be personal.
func (e Event) Validate() error {
	err := validate.Struct(e)
	if err == nil && e.DeliveryID == "" && e.Type.Stream() == StreamEvents {
		return fmt.Errorf("%w: Event.DeliveryID breaks the rule %q", ErrInvalid, "required")
	}
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
