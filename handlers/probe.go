package handlers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Probe asks a platform's API what a source needs of it, each login once, and
// changes nothing there. It is for operators who want to know what is missing.
// It may be repeated, but not often: a platform may lock an account whose login
// it refuses again and again.
type Probe func(ctx context.Context) []Finding

// Finding is what a probe found about a setting.
type Finding struct {
	Setting string // of the source, like api or issuers[0]
	Grade   Grade
	Text    string // what is so, without anything of an answer
	Todo    string // what to do, "" if there is nothing
}

// Grade says how good a finding is.
type Grade string

// The grades.
const (
	FoundOK   Grade = "ok"
	FoundWarn Grade = "warn" // something that isn't needed is missing
	FoundFail Grade = "fail"
)

// SignIn gets a token if there is none. Its errors are those of [Session.Do].
func (s *Session) SignIn(ctx context.Context) error {
	_, _, err := s.valid(ctx)
	return err
}

// FirstExpiry returns when the first of the tokens of sessions ends, zero if no
// session has one.
func FirstExpiry(sessions ...*Session) func() time.Time {
	return func() time.Time {
		var first time.Time
		for _, s := range sessions {
			if at := s.Expires(); first.IsZero() || !at.IsZero() && at.Before(first) {
				first = at
			}
		}
		return first
	}
}

// Found is a finding that something is well.
func Found(setting, text string) Finding {
	return Finding{Setting: setting, Grade: FoundOK, Text: text}
}

// FoundError is the finding that a request failed, and what to do about that.
// It is for errors of [Session.SignIn] and [Session.Do].
func FoundError(setting string, err error) Finding {
	f := Finding{Setting: setting, Grade: FoundFail}
	f.Text, f.Todo = explain(err)
	return f
}

// explain says what an error of a request means, and what to do.
func explain(err error) (text, todo string) {
	var auth *AuthError
	var upstream *UpstreamError
	var name *net.DNSError
	var untrusted *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var dial *net.OpError
	var timeout net.Error
	endpoint := ""
	switch {
	case errors.As(err, &auth):
		return auth.Endpoint + ": the login is refused with " + strconv.Itoa(auth.Code),
			"check the name, the secret and its file; ask the platform whether the account is locked, and whether it may use the API"
	case errors.As(err, &upstream):
		endpoint = upstream.Endpoint + ": "
	}
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return endpoint + "its host has no address: the name does not resolve", "correct the URL, or the DNS that this machine asks"
	case errors.As(err, &name):
		return endpoint + "its host's address can't be looked up", "see whether this machine reaches its DNS server"
	case errors.As(err, &untrusted), errors.As(err, &authority):
		return endpoint + "its certificate is not one that this machine trusts for that host",
			"correct the URL; if a proxy of yours ends TLS, set outbound.ca_file to the certificate of who issues its certificates"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return endpoint + "nobody answers in time", "see whether a firewall lets this machine out, or set outbound.proxy"
	case errors.As(err, &dial):
		return endpoint + "nobody is reached there", "correct the URL, see whether a firewall lets this machine out, or set outbound.proxy"
	case upstream == nil:
		return err.Error(), "see whether the URL is the API's"
	}
	switch code := upstream.Code; {
	case errors.Is(err, ErrNotJSON), errors.Is(err, ErrIncomplete), code == http.StatusNotFound:
		return upstream.Error(), "see whether the URL is the API's: what answers does not seem to be it"
	case code == http.StatusForbidden:
		return upstream.Error(), "ask the platform to let this account read it"
	case code == http.StatusTooManyRequests:
		return upstream.Error(), "wait; if it goes on, set a longer poll.interval"
	case code >= http.StatusInternalServerError:
		return upstream.Error(), "wait: the platform has a problem; if it goes on, ask it"
	}
	return upstream.Error(), "see the platform's documentation"
}
