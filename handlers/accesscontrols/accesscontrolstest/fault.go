package accesscontrolstest

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The kinds of faults.
const (
	Status       Kind = "status"       // an error with Fault.Code
	Unauthorized Kind = "unauthorized" // 401 though the token is good
	Hang         Kind = "hang"         // no answer until the caller gives up
	Cut          Kind = "cut"          // JSON that breaks off
	Short        Kind = "short"        // a body that is shorter than announced
	Reset        Kind = "reset"        // the connection breaks
	HTML         Kind = "html"         // a page for people
	Object       Kind = "object"       // {} whatever was asked for
	Shift        Kind = "shift"        // a page of deals that was there before
	Lapse        Kind = "lapse"        // all tokens end with this call
)

// The endpoints, for faults and counts.
const (
	Token       = "token"
	Deals       = "deals-list"
	ManyV1      = "v1-many"
	OneV1       = "v1-one"
	ManyV2      = "v2-many"
	OneV2       = "v2-one"
	ManyDeals   = "deals-many"
	OneDeal     = "deals-one"
	Search      = "grants-search"
	OneGrants   = "grants-one"
	AdminGrants = "grants-admin"
)

// Fault is something that goes wrong.
type Fault struct {
	Endpoint   string // "": any but the token's
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
func (p *Platform) fault(endpoint string) Fault {
	for i := range p.faults {
		f := &p.faults[i]
		if f.Endpoint != endpoint && (f.Endpoint != "" || endpoint == Token) {
			continue
		}
		out := *f
		if f.Times--; f.Times <= 0 {
			p.faults = append(p.faults[:i:i], p.faults[i+1:]...)
		}
		return out
	}
	return Fault{}
}

// instead makes the faults that leave nothing to answer, and reports whether it
// did.
func (f Fault) instead(w http.ResponseWriter, r *http.Request, bare bool) bool {
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
		_, _ = w.Write([]byte("<html><body>Down for maintenance, " + Creator + "</body></html>"))
		return true
	default:
		return false
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	refuse(w, code, bare)
	return true
}

// write writes an answer, spoiled if f says so.
func (f Fault) write(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	switch f.Kind {
	case Cut:
		body = body[:len(body)/2]
	case Object:
		body = []byte(`{}`)
	case Short:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+10))
	}
	_, _ = w.Write(body)
}

// refuse answers an error as ASP.NET Core does, or without a body.
func refuse(w http.ResponseWriter, code int, bare bool) {
	if bare {
		w.WriteHeader(code)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(`{"type":"about:blank","title":"` + http.StatusText(code) + `","status":` + strconv.Itoa(code) +
		`,"detail":"asked by ` + Creator + `","traceId":"00-5f1e-01"}`))
}
