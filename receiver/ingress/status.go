package ingress

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
)

// What ingress itself finds wrong with a request.
var (
	errNobody   = errors.New("nobody who is believed says who calls")
	errStranger = errors.New("caller is on no source's list")
	errAddress  = errors.New("caller is not on this source's list")
	errProtocol = errors.New("not HTTP/1.1")
	errPath     = errors.New("no such path or source")
	errMethod   = errors.New("no such method here")
	errSize     = errors.New("too large")
	errEncoding = errors.New("compressed")
	errBody     = errors.New("body did not arrive")
	errDraining = errors.New("draining")
	errBusy     = errors.New("too many pushes in flight")
	errStuck    = errors.New("the journal did not answer in time")
)

// bodyError says what a failed read of a body means. What the connection
// itself says is not told: it names addresses.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return errSize
	}
	return errBody
}

// journalError is what the journal said.
type journalError struct{ err error }

func (e *journalError) Error() string { return "journal: " + e.err.Error() }
func (e *journalError) Unwrap() error { return e.err }

// panicError is a panic, without what it said.
type panicError struct{ where string }

func (e *panicError) Error() string { return "panic in " + e.where }

// answer is what a caller hears, and how it is counted.
type answer struct {
	status  int
	check   string  // which of our checks it failed: a closed set
	outcome outcome // none if it was no delivery
	ours    bool    // it is a fault of ours
	detail  string  // for the log, of errors whose texts hold nothing of the push
}

// reason returns what the log says.
func (a answer) reason() string {
	if a.detail == "" {
		return a.check
	}
	return a.detail
}

// answerTo is the one status table. Amazon SNS takes every answer from 200 to
// 499 as delivered and never sends the message again, so what is not the
// sender's fault for certain gets a 5xx.
func answerTo(err error) answer {
	var (
		refused     *handlers.RefusedError
		uncheckable *handlers.UncheckableError
		kept        *journalError
		panicked    *panicError
	)
	switch {
	case errors.Is(err, errNobody):
		return answer{status: http.StatusForbidden, check: "no_address", outcome: rejectedAddress}
	case errors.Is(err, errStranger), errors.Is(err, errAddress):
		return answer{status: http.StatusForbidden, check: "address", outcome: rejectedAddress}
	case errors.As(err, &refused):
		return answer{status: http.StatusForbidden, check: string(refused.Reason), outcome: rejected(refused.Reason), detail: refused.Error()}
	case errors.Is(err, errPath), errors.Is(err, echo.ErrNotFound):
		return answer{status: http.StatusNotFound, check: "path", outcome: rejectedPath}
	case errors.Is(err, errMethod):
		return answer{status: http.StatusMethodNotAllowed, check: "method"}
	case errors.Is(err, errSize):
		return answer{status: http.StatusRequestEntityTooLarge, check: "size", outcome: rejectedSize}
	case errors.Is(err, errProtocol):
		return answer{status: http.StatusHTTPVersionNotSupported, check: "protocol"}
	case errors.As(err, &uncheckable):
		return answer{status: http.StatusServiceUnavailable, check: "uncheckable", outcome: unverifiable, detail: uncheckable.Error()}
	case errors.Is(err, errEncoding):
		return answer{status: http.StatusServiceUnavailable, check: "encoding", outcome: unverifiable}
	case errors.Is(err, errBody):
		return answer{status: http.StatusServiceUnavailable, check: "body", outcome: unverifiable}
	case errors.Is(err, errNotAsked):
		return answer{status: http.StatusServiceUnavailable, check: "not_asked", outcome: unavailable}
	case errors.Is(err, errDraining):
		return answer{status: http.StatusServiceUnavailable, check: "draining", outcome: unavailable}
	case errors.Is(err, errBusy):
		return answer{status: http.StatusServiceUnavailable, check: "busy", outcome: unavailable}
	case errors.Is(err, errStuck):
		return answer{status: http.StatusServiceUnavailable, check: "journal_stuck", outcome: unavailable, ours: true}
	case errors.Is(err, journal.ErrFull):
		return answer{status: http.StatusServiceUnavailable, check: "journal_full", outcome: unavailable, ours: true}
	case errors.Is(err, journal.ErrDiskLow):
		return answer{status: http.StatusServiceUnavailable, check: "disk_low", outcome: unavailable, ours: true}
	case errors.As(err, &kept):
		return answer{status: http.StatusServiceUnavailable, check: "journal", outcome: unavailable, ours: true, detail: kept.Error()}
	case errors.As(err, &panicked):
		return answer{status: http.StatusServiceUnavailable, check: "panic", outcome: unavailable, ours: true, detail: panicked.Error()}
	default:
		// Nobody vouches for what an unknown error's text holds.
		return answer{status: http.StatusServiceUnavailable, check: "failed", outcome: unavailable, ours: true}
	}
}

// code returns the error that a body names: a status says no more in words.
func (a answer) code() string {
	switch a.status {
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusNotFound:
		return "not_found"
	case http.StatusMethodNotAllowed:
		return "method_not_allowed"
	case http.StatusRequestEntityTooLarge:
		return "too_large"
	case http.StatusHTTPVersionNotSupported:
		return "http_version_not_supported"
	default:
		return "unavailable"
	}
}

// rejected returns how a refused push is counted.
func rejected(r handlers.Reason) outcome {
	switch r {
	case handlers.ReasonTopic:
		return rejectedTopic
	case handlers.ReasonCertificate:
		return rejectedCertificate
	case handlers.ReasonHeader:
		return rejectedHeader
	default:
		return rejectedSignature
	}
}

// Values of response headers, made once: net/http only reads them.
var (
	headerJSON       = []string{"application/json"}
	headerClose      = []string{"close"}
	headerRetryAfter = []string{"20"} // as SNS waits between its tries
)

// refuse answers with an error. It is Echo's error handler.
func (s *Server) refuse(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	a := answerTo(err)
	src := s.requested(c).roster.sources[c.Param("source")]
	h := c.Response().Header()
	switch {
	case errors.Is(err, errStranger), errors.Is(err, errNobody):
		src = nil // who is on no list learns and counts nothing of a source
		s.metrics.unknown[rejectedAddress].Inc()
		s.hangUp(c)
	case errors.Is(err, errAddress):
		s.hangUp(c)
	case a.outcome == rejectedPath:
		src = nil
		if c.Request().Method == http.MethodPost {
			s.metrics.unknown[rejectedPath].Inc()
		}
	case errors.Is(err, errDraining), errors.Is(err, errSize), errors.Is(err, errNotAsked):
		h["Connection"] = headerClose
	}
	if src != nil && a.outcome != none {
		src.outcomes[a.outcome].Inc()
	}
	if a.status == http.StatusServiceUnavailable {
		h["Retry-After"] = headerRetryAfter
	}
	id := rand.Text()
	s.refusals.log(c.Request(), src, a, id)

	h["Content-Type"] = headerJSON
	body := make([]byte, 0, 96)
	body = append(body, `{"error":"`...)
	body = append(body, a.code()...)
	body = append(body, `","request_id":"`...)
	body = append(body, id...)
	body = append(body, '"', '}')
	if errors.Is(err, errStuck) {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	c.Response().WriteHeader(a.status)
	_, _ = c.Response().Write(body) // who hung up doesn't hear it
}

// refuseLate answers a push that the journal does not answer, while its handler
// waits on. The answer is whole only if its length is told and the rest is
// flushed, and the connection can't take another request before the handler has
// returned.
func (s *Server) refuseLate(c echo.Context) {
	c.Response().Header()["Connection"] = headerClose
	s.refuse(errStuck, c)
	_ = http.NewResponseController(c.Response().Writer).Flush() // who hung up doesn't hear it
}

// refuseConnection counts a connection that was closed before a request came,
// and whose caller is therefore unknown.
func (s *Server) refuseConnection(remote netip.Addr, check string) {
	s.metrics.unknown[rejectedAddress].Inc()
	s.refusals.logConnection(remote, check)
}

// hangUp ends the connection with the answer. Without the deadline net/http
// would read the body that nobody asked for before it answers.
func (s *Server) hangUp(c echo.Context) {
	c.Response().Header()["Connection"] = headerClose
	// It fails only on a connection that is gone.
	_ = http.NewResponseController(c.Response().Writer).SetReadDeadline(time.Unix(1, 0))
}

// answerID answers that a push is kept.
func answerID(c echo.Context, id string) error {
	h := c.Response().Header()
	h["Content-Type"] = headerJSON
	body := make([]byte, 0, 64)
	body = append(body, `{"id":"`...)
	body = append(body, id...)
	body = append(body, '"', '}')
	c.Response().WriteHeader(http.StatusOK)
	_, _ = c.Response().Write(body) // who hung up asks again and hears the same id
	return nil
}
