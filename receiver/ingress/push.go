package ingress

import (
	"bytes"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// keptBuffer is how large a body's buffer may be to be used again.
const keptBuffer = 64 << 10

// admit is around every route, those that don't exist included: it lets in
// whom at least one source knows, speaking HTTP/1.1, and turns a panic into an
// error.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = &panicError{panicked()}
			}
		}()
		r := c.Request()
		own := connOf(r)
		if own == nil {
			return errNobody
		}
		q := request{roster: s.roster.Load(), caller: s.callers.of(own, r.Header)}
		own.request = q
		switch {
		case !q.caller.IsValid():
			return errNobody
		case !q.roster.knows(q.caller):
			return errStranger
		}
		if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
			return errProtocol
		}
		if len(r.TransferEncoding) > 0 {
			// Where two parsers disagree about where a chunked body ends, the
			// rest of the connection is somebody else's request.
			c.Response().Header()["Connection"] = headerClose
		}
		return next(c)
	}
}

// requested returns what admit decided of a request.
func (s *Server) requested(c echo.Context) request {
	if own := connOf(c.Request()); own != nil && own.request.roster != nil {
		return own.request
	}
	return request{roster: s.roster.Load()}
}

// panicked says where the panic that is being recovered came from. What it was
// about may quote a payload, so nobody hears that.
func panicked() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return f.Function + ":" + strconv.Itoa(f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

// push answers POST /hooks/{source}.
func (s *Server) push(c echo.Context) error {
	start := time.Now()
	q := s.requested(c)
	src := q.roster.sources[c.Param("source")]
	if src == nil {
		return errPath
	}
	r := c.Request()
	if !contains(src.Push.Allow, q.caller) {
		return errAddress
	}
	if s.refusing.Load() {
		return errDraining
	}
	if err := src.checkClient(r); err != nil {
		s.tellRefused(r, src, q.caller, err, nil, start)
		return err
	}

	body := s.buffers.Get().(*bytes.Buffer)
	defer s.giveBack(body)
	if err := s.read(c, body); err != nil {
		s.tellRefused(r, src, q.caller, err, nil, start)
		return err
	}
	receipt, authentic, err := s.accept(r, src, body.Bytes(), start, func() { s.refuseLate(c) })
	if err != nil {
		s.tellRefused(r, src, q.caller, err, body.Bytes(), start)
		return err
	}
	src.accepted(receipt.Outcome, start, authentic)
	if s.log.Enabled(r.Context(), levelAccepted) {
		s.logAccepted(r, src, receipt, body.Len(), start)
	}
	return answerID(c, receipt.ID)
}

// read fills body. The sender decides how fast it comes and the buffer grows
// with it, so that a promised megabyte costs nothing until it is there.
func (s *Server) read(c echo.Context, body *bytes.Buffer) error {
	r := c.Request()
	if r.ContentLength > s.maxBody {
		return errSize
	}
	for _, v := range r.Header["Content-Encoding"] {
		if v != "" && !strings.EqualFold(v, "identity") {
			return errEncoding
		}
	}
	_, err := body.ReadFrom(http.MaxBytesReader(c.Response().Writer, r.Body, s.maxBody))
	if err != nil {
		return bodyError(err)
	}
	return nil
}

func (s *Server) giveBack(body *bytes.Buffer) {
	if body.Cap() <= keptBuffer {
		body.Reset()
		s.buffers.Put(body)
	}
}

// accept has the webhook authenticate the push and the journal keep it. If the
// journal takes too long, late answers the push.
func (s *Server) accept(r *http.Request, src *source, body []byte, start time.Time, late func()) (journal.Receipt, handlers.Authentic, error) {
	received := start.UTC()
	authentic, err := src.Push.Webhook.Authenticate(handlers.Request{Header: r.Header, Body: body, Received: received})
	if err != nil {
		return journal.Receipt{}, authentic, err
	}
	if !s.take() {
		return journal.Receipt{}, authentic, errBusy
	}
	defer func() { <-s.slots }()
	receipt, err := s.keep(r.Context(), handlers.Delivery{
		Source:   src.Name,
		Platform: src.Platform,
		Channel:  schemas.ChannelPush,
		Role:     authentic.Role,
		Received: received,
		Sent:     authentic.Sent,
		Stale:    authentic.Stale,
		Payload:  body,
	}, authentic, start.Add(handlerTimeout), late)
	return receipt, authentic, err
}

// take waits a little for one of the slots, and reports whether it got one.
// Only authentic pushes ask for one: slow bodies and forgeries take none.
func (s *Server) take() bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(busyWait)
	defer wait.Stop()
	select {
	case s.slots <- struct{}{}:
		return true
	case <-wait.C:
		return false
	}
}
