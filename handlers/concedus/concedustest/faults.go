package concedustest

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// The endpoints, as faults and counts name them.
const (
	EndpointToken      = "auth-token"
	EndpointRefresh    = "auth-refresh"
	EndpointCheck      = "auth-check"
	EndpointAgentList  = "agent-list"
	EndpointIssuerList = "issuer-list"
	EndpointStatus     = "compliance-status"
)

// Kind is what goes wrong.
type Kind string

// The faults.
const (
	Unauthorized Kind = "401"       // the token is refused
	Forbidden    Kind = "403"       // this account may not ask for this
	TooMany      Kind = "429"       // with Retry-After
	Broken       Kind = "500"       // an error of the platform's
	Hang         Kind = "hang"      // no answer until the caller gives up
	Truncated    Kind = "truncated" // half of the JSON
	PageShift    Kind = "shift"     // the list moved up by one: the page lacks its first contract
	Vanish       Kind = "vanish"    // the list is empty
	Reset        Kind = "reset"     // the connection is closed without an answer
	HTML         Kind = "html"      // a page of a proxy, with status 200
	Bare         Kind = "bare"      // JSON without the members that it should have
)

// Fault is something that goes wrong at an endpoint.
type Fault struct {
	Endpoint   string
	Kind       Kind
	Page       int           // only at this page of a list, 0: at any
	Times      int           // how often; 0: once
	RetryAfter time.Duration // for TooMany
}

// Inject orders a fault. Several at one endpoint happen one after the other.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Times = max(f.Times, 1)
	s.faults = append(s.faults, &f)
}

// Pending returns how many faults did not happen yet.
func (s *Server) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.faults {
		n += f.Times
	}
	return n
}

// next counts a request and returns what goes wrong with it.
func (s *Server) next(endpoint string, page int) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[endpoint]++
	for _, f := range s.faults {
		if f.Endpoint == endpoint && f.Times > 0 && (f.Page == 0 || f.Page == page) {
			f.Times--
			return *f
		}
	}
	return Fault{}
}

// fails lets a fault happen, and reports whether that was the answer.
func (f Fault) fails(w http.ResponseWriter, r *http.Request) bool {
	switch f.Kind {
	case Unauthorized:
		refuse(w, http.StatusUnauthorized, "Unauthorized", "Token is invalid or expired")
	case Forbidden:
		refuse(w, http.StatusForbidden, "Forbidden", "Not your product")
	case TooMany:
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
		refuse(w, http.StatusTooManyRequests, "Too many requests", "Slow down")
	case Broken:
		refuse(w, http.StatusInternalServerError, "Internal error", "Something went wrong")
	case Hang:
		// Only behind the body the server notices that the caller left.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Reset:
		panic(http.ErrAbortHandler)
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>Maintenance</title><p>We are back soon.")
	case Bare:
		write(w, http.StatusOK, []byte(`{"info":"nothing to see"}`))
	default:
		return false
	}
	return true
}

// refuse writes an error as the API does: with the code as a text.
func refuse(w http.ResponseWriter, code int, info, reason string) {
	write(w, code, []byte(`{"code":"`+strconv.Itoa(code)+`","info":"`+info+`","reason":"`+reason+`"}`))
}

func write(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
