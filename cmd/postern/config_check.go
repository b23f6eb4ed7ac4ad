package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/seed75441868/postern/handlers"
)

// check applies the rules of the validate tags, then those that look at
// several settings.
func (l *loading) check() {
	v := newValidator()
	l.validate(v, l.cfg, "")
	for _, s := range l.cfg.Sources {
		l.validate(v, s.Settings, join("sources", s.Name))
		l.insecureBelow(s.Settings, join("sources", s.Name))
	}
	for _, rule := range rules {
		rule(l)
	}
}

// newValidator returns a validator that knows our settings and calls them by
// their keys.
func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" {
			return strings.ToLower(f.Name)
		}
		return name
	})
	// So that rules can be written as min=1s.
	v.RegisterCustomTypeFunc(func(v reflect.Value) any {
		return time.Duration(v.Int())
	}, handlers.Duration(0))
	for tag, ok := range map[string]func(string) bool{"listen": isListen, "natsurl": isNATSURL} {
		if err := v.RegisterValidation(tag, func(fl validator.FieldLevel) bool { return ok(fl.Field().String()) }); err != nil {
			panic(err) // the tag's name is wrong
		}
	}
	return v
}

// validate reports what is wrong with settings, a pointer to a struct.
func (l *loading) validate(v *validator.Validate, settings any, path string) {
	var broken validator.ValidationErrors
	if !errors.As(v.Struct(settings), &broken) {
		return
	}
	for _, b := range broken {
		_, keys, _ := strings.Cut(b.Namespace(), ".")
		l.invalid(join(path, keys), b)
	}
}

// invalid reports one broken rule.
func (l *loading) invalid(path string, b validator.FieldError) {
	if inSecret(b) {
		// A secret is one setting. Whoever writes it has been told of what is
		// wrong with it already, unless it isn't there.
		l.faultAt(parent(path), "is missing; write {file: PATH} or {env: NAME}")
		return
	}
	text := explainRule(b)
	if _, written := l.cfg.origins[path]; written && text == missingText {
		text = "must not be empty"
	}
	l.faultAt(path, "%s", text)
}

// inSecret reports whether b is about where a [handlers.Secret] is.
func inSecret(b validator.FieldError) bool {
	return b.StructField() == "File" && b.Param() == "Env" || b.StructField() == "Env" && b.Param() == "File"
}

// insecureBelow reports values that only tests want, unless insecure is true.
func (l *loading) insecureBelow(settings any, path string) {
	if l.cfg.Insecure {
		return
	}
	each(reflect.ValueOf(settings), path, field{}, func(v reflect.Value, path string, f field) bool {
		for _, value := range f.insecure {
			if isScalar(v.Type()) && fmt.Sprint(v.Interface()) == value {
				l.faultAt(path, "must not be %s unless `insecure: true` says that this is a test", value)
			}
		}
		return true
	})
}

// isListen reports whether s is an address to listen on: a port, before it
// nothing, an IP address or a name.
func isListen(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, " /%") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == port
}

// isLoopback reports whether only this machine can reach a listener on addr.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost"
}

// isNATSURL reports whether s is empty or URLs of NATS servers, with commas
// between. They hold no password: those are secrets.
func isNATSURL(s string) bool {
	if s == "" {
		return true
	}
	for one := range strings.SplitSeq(s, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" || u.User != nil {
			return false
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return false
		}
	}
	return true
}
