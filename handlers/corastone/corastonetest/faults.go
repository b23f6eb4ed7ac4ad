package corastonetest

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The faults.
const (
	Unauthorized Kind = "401"       // the token is refused, or the client where one is asked for
	WAF          Kind = "403"       // the firewall refuses, with a page for people
	NotFound     Kind = "404"       // the endpoint isn't there
	TooMany      Kind = "429"       // with Retry-After
	Broken       Kind = "500"       // an error of the platform's
	Hang         Kind = "hang"      // no answer until the caller gives up
	Reset        Kind = "reset"     // the connection is closed without an answer
	Truncated    Kind = "truncated" // half of the JSON
	Empty        Kind = "empty"     // [] although there is something
	PageRepeats  Kind = "repeats"   // a list grew at its front: a page after the first begins with a row again
	PageSkips    Kind = "skips"     // a list shrank at its front: a page after the first lacks a row
)

// Fault is something that goes wrong at an endpoint.
type Fault struct {
	Endpoint string // "": any read
	Kind     Kind
	// Times is how often. 0: once, or without end until Until.
	Times int
	// Until is the ledger's time when it ends. Zero: it doesn't matter.
	Until time.Time
	// RetryAfter is for TooMany.
	RetryAfter time.Duration
	// For has only queries go wrong that have this in a filter, like an id.
	For string
}

// Inject orders a fault. Of several at one endpoint the first that is left
// happens.
func (l *Ledger) Inject(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Times == 0 && f.Until.IsZero() {
		f.Times = 1
	}
	l.faults = append(l.faults, &f)
}

// Heal takes back the faults that are left.
func (l *Ledger) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = nil
}

// next counts a request and returns what goes wrong with it.
func (l *Ledger) next(endpoint string, values url.Values, offset int) Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[endpoint] = append(l.asked[endpoint], values)
	for i, f := range l.faults {
		shifts := f.Kind == PageRepeats || f.Kind == PageSkips
		switch {
		case f.Endpoint != endpoint && (f.Endpoint != "" || endpoint == EndpointToken),
			!f.Until.IsZero() && !l.options.Now().Before(f.Until),
			shifts && offset == 0,
			f.For != "" && !mentions(values, f.For):
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				l.faults = slices.Delete(l.faults, i, i+1)
			}
		}
		return *f
	}
	return Fault{}
}

func mentions(values url.Values, s string) bool {
	for _, list := range values {
		for _, v := range list {
			if strings.Contains(v, s) {
				return true
			}
		}
	}
	return false
}

// fails lets a fault happen, and reports whether that was the answer.
func (f Fault) fails(w http.ResponseWriter, r *http.Request) bool {
	switch f.Kind {
	case Unauthorized:
		write(w, http.StatusUnauthorized, []byte(`{"code":"AU0001","message":"The access token is invalid or missing."}`))
	case WAF:
		forbidden(w)
	case NotFound:
		write(w, http.StatusNotFound, []byte(`{"message":"Not Found"}`))
	case TooMany:
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
		write(w, http.StatusTooManyRequests, []byte(`{"message":"Too Many Requests"}`))
	case Broken:
		write(w, http.StatusInternalServerError, []byte(`{"message":"Internal server error"}`))
	case Empty:
		if r.URL.Path == "/external/v1/sequencer" {
			write(w, http.StatusOK, []byte(`{"sequence":[]}`))
			break
		}
		write(w, http.StatusOK, []byte(`[]`))
	case Hang:
		// Only behind the body the server notices that the caller left.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Reset:
		panic(http.ErrAbortHandler)
	default:
		return false
	}
	return true
}
