package main

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/seed75441868/postern/handlers"
)

const missingText = "is missing"

// explainRule says in the user's words what a setting must be. It never
// repeats the value, which may be a secret in the wrong place.
func explainRule(b validator.FieldError) string {
	param := b.Param()
	switch tag := b.Tag(); tag {
	case "oneof":
		return "must be " + enumerate(strings.Fields(param), "or")
	case "min", "gte":
		return "must " + bound(b, "at least")
	case "max", "lte":
		return "must " + bound(b, "at most")
	case "gt":
		return "must " + bound(b, "more than")
	case "lt":
		return "must " + bound(b, "less than")
	case "len", "eq":
		return "must " + bound(b, "exactly")
	case "unique":
		if param != "" {
			return "has two entries with the same " + strings.ToLower(param)
		}
		return "has two entries that are the same"
	case "listen":
		return `must be an address to listen on, like ":8080" or "127.0.0.1:8081"`
	case "natsurl":
		return "must be a URL like nats://host:4222 or tls://host:4222, without user and password in it"
	case "url", "http_url", "https_url", "uri":
		return "must be a URL, like https://host"
	case "hostname", "hostname_rfc1123", "fqdn":
		return "must be the name of a host"
	case "uuid", "uuid4", "uuid_rfc4122", "uuid4_rfc4122":
		return "must be a UUID"
	case "startswith":
		return fmt.Sprintf("must begin with %q", param)
	case "endswith":
		return fmt.Sprintf("must end with %q", param)
	case "excluded_with", "excluded_with_all":
		return "can't stand beside " + strings.ToLower(param)
	default:
		if isMissing(tag) {
			return missingText
		}
		if strings.Contains(tag, "|") {
			return "must be " + alternatives(tag)
		}
		if param != "" {
			tag += "=" + param
		}
		return fmt.Sprintf("breaks the rule %q", tag)
	}
}

// alternatives explains rules of which one is enough: "eq=now|datetime=2006".
func alternatives(tag string) string {
	var words []string
	for one := range strings.SplitSeq(tag, "|") {
		name, param, _ := strings.Cut(one, "=")
		switch name {
		case "eq":
			words = append(words, param)
		case "datetime":
			words = append(words, "a time like "+time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC).Format(param))
		default:
			words = append(words, strings.ReplaceAll(one, "_", " "))
		}
	}
	return enumerate(words, "or")
}

// isMissing reports whether tag is a rule that wants a setting to be there.
func isMissing(tag string) bool { return strings.HasPrefix(tag, "required") }

// bound returns "be at least 1", "have at least 3 characters" or "not be
// empty".
func bound(b validator.FieldError, what string) string {
	param := b.Param()
	switch kind := b.Type().Kind(); {
	case b.Type() == reflect.TypeFor[time.Duration](), b.Type() == reflect.TypeFor[handlers.Duration]():
		return "be " + what + " " + asDuration(param)
	case b.Type() == reflect.TypeFor[handlers.Size]():
		n, _ := strconv.ParseInt(param, 10, 64)
		return "be " + what + " " + plain(handlers.Size(n))
	case kind == reflect.Slice || kind == reflect.Map:
		if param == "1" && what == "at least" || param == "0" && what == "more than" {
			return "not be empty"
		}
		return "have " + what + " " + param + " entries"
	case kind == reflect.String:
		return "have " + what + " " + param + " characters"
	default:
		return "be " + what + " " + param
	}
}

// asDuration writes a rule's parameter as a setting is written.
func asDuration(param string) string {
	d, err := time.ParseDuration(param)
	if err != nil {
		n, _ := strconv.ParseInt(param, 10, 64)
		d = time.Duration(n)
	}
	return plain(handlers.Duration(d))
}

// plain writes a setting as text.
func plain(m encoding.TextMarshaler) string {
	text, err := m.MarshalText()
	if err != nil {
		return ""
	}
	return string(text)
}
