package ingress

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// tellRefused hands on a push from an allowed address that was refused, unless
// the fault is ours. The body is nil if it was not read whole.
func (s *Server) tellRefused(r *http.Request, src *source, caller netip.Addr, err error, body []byte, start time.Time) {
	if s.refused == nil {
		return
	}
	a := answerTo(err)
	reason := refusalReason(a.outcome)
	if reason == "" {
		return
	}
	s.refused(handlers.Refusal{
		Source:   src.Name,
		Platform: src.Platform,
		Reason:   reason,
		Detail:   a.reason(),
		Remote:   caller,
		Received: start.UTC(),
		Header:   r.Header,
		Body:     body,
	})
}

// refusalReason returns why a push with this outcome was refused, or "" if it
// was not, or not for what it was.
func refusalReason(o outcome) handlers.Reason {
	switch o {
	case rejectedTopic:
		return handlers.ReasonTopic
	case rejectedSignature:
		return handlers.ReasonSignature
	case rejectedCertificate:
		return handlers.ReasonCertificate
	case rejectedHeader:
		return handlers.ReasonHeader
	case unverifiable:
		return handlers.ReasonUnverifiable
	case rejectedSize:
		return handlers.ReasonSize
	default:
		return ""
	}
}
