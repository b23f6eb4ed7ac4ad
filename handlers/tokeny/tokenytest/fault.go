package tokenytest

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The kinds of faults.
const (
	Status       Kind = "status"        // an error with Fault.Code
	Hang         Kind = "hang"          // no answer until the caller gives up
	Cut          Kind = "cut"           // JSON that breaks off
	NoItems      Kind = "no items"      // a list without items
	Empty        Kind = "empty"         // a list of nobody
	Reset        Kind = "reset"         // the connection breaks
	HTML         Kind = "html"          // a page for people
	Unauthorized Kind = "unauthorized"  // 401 though the token is good
	Half         Kind = "half"          // a list that says that there is more than it has
	Mistyped     Kind = "mistyped"      // a status that is no text
	LiesOfTokens Kind = "lies of token" // a sign-in without a token
)

// Fault is something that goes wrong.
type Fault struct {
	Endpoint   string // "": any but the sign-in
	Kind       Kind
	Code       int           // for Status
	RetryAfter time.Duration // sent with an error if not 0
	Times      int           // how often; 0: once
}

// Inject makes something go wrong, after what was injected before.
func (p *Platform) Inject(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, f)
}

// Heal takes back what was injected and did not go wrong yet.
func (p *Platform) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// fault returns what goes wrong now. mu is held.
func (p *Platform) fault(endpoint string) (Fault, bool) {
	for k := range p.faults {
		f := &p.faults[k]
		if f.Endpoint != endpoint && (f.Endpoint != "" || endpoint == SignIn) {
			continue
		}
		out := *f
		if f.Times--; f.Times <= 0 {
			p.faults = append(p.faults[:k:k], p.faults[k+1:]...)
		}
		return out, true
	}
	return Fault{}, false
}

// before makes the faults that leave nothing to answer, and reports whether it
// did.
func (f Fault) before(p *Platform, w http.ResponseWriter, r *http.Request) bool {
	code := f.Code
	switch f.Kind {
	case Unauthorized:
		code = http.StatusUnauthorized
	case Status:
	case Hang:
		<-r.Context().Done()
		return true
	case Reset:
		if h, ok := w.(http.Hijacker); ok {
			if c, _, err := h.Hijack(); err == nil {
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				_ = c.Close()
				return true
			}
		}
		panic(http.ErrAbortHandler)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><body>Please sign in, " + p.email + "</body></html>"))
		return true
	default:
		return false
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	p.refuse(w, r, code, "REST_ERROR", p.email)
	return true
}

// spoil changes an answer.
func (f Fault) spoil(body []byte) []byte {
	switch f.Kind {
	case Cut:
		return body[:len(body)/2]
	case NoItems, LiesOfTokens:
		return []byte(`{}`)
	case Empty:
		return []byte(`{"items":[]}`)
	case Half:
		return append(bytes.TrimSuffix(body, []byte("}")), `,"total":1000000}`...)
	case Mistyped:
		return bytes.Replace(body, []byte(`"status":"`), []byte(`"status":7,"was":"`), 1)
	}
	return body
}
