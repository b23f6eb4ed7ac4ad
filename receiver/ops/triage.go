package ops

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/seed75441868/postern/schemas"
)

// Triage is what operators see and do of pushes that were refused and of
// deliveries that could not become events. Its errors wrap [ErrNotThere] or
// [ErrSealed] or are transient. What changes or opens something is told on
// POSTERN_OPS in the name of an actor.
type Triage interface {
	// Rejected lists refused pushes, the oldest first.
	Rejected(ctx context.Context, q RecordQuery) (Records, error)
	// OpenRejected opens one.
	OpenRejected(ctx context.Context, actor string, seq uint64) (Record, error)

	// Quarantine lists deliveries in quarantine, the oldest first.
	Quarantine(ctx context.Context, q RecordQuery) (Records, error)
	// Quarantined returns what is in quarantine at a sequence, or of a
	// delivery.
	Quarantined(ctx context.Context, id string) ([]Record, error)
	// OpenQuarantined opens a delivery in quarantine.
	OpenQuarantined(ctx context.Context, actor string, seq uint64) (Record, error)
	// Release has deliveries translated again, in the order of the records.
	// Those that become events are told and then deleted from quarantine.
	Release(ctx context.Context, actor string, records []Record) ([]Handled, error)
	// Discard deletes deliveries from quarantine.
	Discard(ctx context.Context, actor string, records []Record) ([]Handled, error)
}

// ErrNotThere says that there is no such record, any more or ever.
var ErrNotThere = errors.New("there is no such record")

// ErrSealed says that a record can't be opened: the key that sealed it is not
// configured, or it is damaged.
var ErrSealed = errors.New("the record can't be opened")

// RecordQuery says which records somebody wants to see.
type RecordQuery struct {
	Source string // "" means all
	Reason string // "" means all
	After  uint64 // only those behind that sequence
	Until  uint64 // only those up to that sequence; 0 means all
	Limit  int
}

// Records is a part of what there is.
type Records struct {
	Records []Record `json:"records"`
	// Last is the newest sequence that there was when they were listed: who
	// wants all that was there then asks until it.
	Last uint64 `json:"last"`
	// More says that there are more behind the last of them.
	More bool `json:"more"`
}

// Record is a refused push, or a delivery in quarantine.
type Record struct {
	Sequence   uint64  `json:"sequence"`
	Source     string  `json:"source"`
	Reason     string  `json:"reason"`
	Detail     string  `json:"detail,omitempty"` // of a refused push: what was wrong
	DeliveryID string  `json:"deliveryId,omitempty"`
	Channel    string  `json:"channel,omitempty"`
	Received   string  `json:"received"`
	Stored     string  `json:"stored"`
	Bytes      int     `json:"bytes"` // sealed
	Opened     *Opened `json:"opened,omitempty"`
}

// Opened is what was sealed.
type Opened struct {
	Platform string              `json:"platform"`
	Remote   string              `json:"remote,omitempty"` // the caller of a refused push
	Header   map[string][]string `json:"header,omitempty"` // of a refused push
	Role     string              `json:"role,omitempty"`   // of a delivery
	Sent     string              `json:"sent,omitempty"`   // of a delivery, as the transport says
	Body     string              `json:"body"`             // as text, or in base64
	Encoding string              `json:"encoding"`         // of the body: text, base64, or none if it was not kept
}

// SetBody shows a body as text if it is one, and otherwise in base64.
func (o *Opened) SetBody(body []byte) {
	switch {
	case body == nil:
		o.Encoding = "none"
	case utf8.Valid(body):
		o.Body, o.Encoding = string(body), "text"
	default:
		o.Body, o.Encoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
}

// Handled is what became of a record.
type Handled struct {
	Sequence   uint64 `json:"sequence"`
	DeliveryID string `json:"deliveryId"`
	Source     string `json:"source"`
	// Outcome is told, nothing_new (it had been told), kept (it still can't
	// become events), pending (it is in the journal and is told when the bus
	// takes it), discarded, gone (it was not there any more), sealed (it
	// can't be opened) or unavailable (it was not tried).
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"` // why it is kept, now
}

// The outcomes that this package knows; those of a release that is settled are
// the relay's.
const (
	OutcomePending   = "pending"
	OutcomeDiscarded = "discarded"
	OutcomeGone      = "gone"
	OutcomeSealed    = "sealed"

	OutcomeUnavailable = "unavailable"
)

// HandledList is the answer to a release or a discard.
type HandledList struct {
	Handled []Handled `json:"handled"`
	// Last, Behind and More are for who goes on: the newest sequence when it
	// began, the last one that was looked at, and whether there are more.
	Last   uint64 `json:"last"`
	Behind uint64 `json:"behind"`
	More   bool   `json:"more"`
}

// How many records are listed, or handled, in one request.
const (
	defaultRecords = 100
	maxRecords     = 1000
	maxHandled     = 100
)

func (s *Server) triageRoutes(e *echo.Echo) {
	read, operate, unseal := s.Require(RoleViewer), s.Require(RoleOperator), s.Require(RoleUnseal)
	e.GET("/api/v1/rejected", s.rejected, read)
	e.GET("/api/v1/rejected/:seq", s.openRejected, unseal)
	e.GET("/api/v1/quarantine", s.quarantine, read)
	e.GET("/api/v1/quarantine/:id", s.quarantined, read, func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if c.QueryParams().Has("unseal") {
				return unseal(next)(c)
			}
			return next(c)
		}
	})
	e.POST("/api/v1/quarantine/:id/release", s.handleOne(s.cfg.Triage.Release), operate)
	e.POST("/api/v1/quarantine/:id/discard", s.handleOne(s.cfg.Triage.Discard), operate)
	e.POST("/api/v1/quarantine/release", s.handleMany(s.cfg.Triage.Release), operate)
	e.POST("/api/v1/quarantine/discard", s.handleMany(s.cfg.Triage.Discard), operate)
}

// rejected answers GET /api/v1/rejected.
func (s *Server) rejected(c echo.Context) error { return s.list(c, s.cfg.Triage.Rejected) }

// quarantine answers GET /api/v1/quarantine.
func (s *Server) quarantine(c echo.Context) error { return s.list(c, s.cfg.Triage.Quarantine) }

func (s *Server) list(c echo.Context, from func(context.Context, RecordQuery) (Records, error)) error {
	q, err := recordQuery(c.QueryParams(), defaultRecords, maxRecords)
	if err != nil {
		return err
	}
	records, err := from(c.Request().Context(), q)
	if err != nil {
		return s.triageError(err)
	}
	return writeJSON(c, records)
}

// openRejected answers GET /api/v1/rejected/{seq}.
func (s *Server) openRejected(c echo.Context) error {
	seq, err := strconv.ParseUint(c.Param("seq"), 10, 64)
	if err != nil {
		return badRequest("a refused push is named by its sequence")
	}
	record, err := s.cfg.Triage.OpenRejected(c.Request().Context(), actor(c), seq)
	if err != nil {
		return s.triageError(err)
	}
	return writeSecret(c, record)
}

// quarantined answers GET /api/v1/quarantine/{seq or delivery}.
func (s *Server) quarantined(c echo.Context) error {
	if err := onlyParameters(c.QueryParams(), "unseal"); err != nil {
		return err
	}
	ctx := c.Request().Context()
	records, err := s.cfg.Triage.Quarantined(ctx, c.Param("id"))
	if err != nil {
		return s.triageError(err)
	}
	if !c.QueryParams().Has("unseal") {
		return writeJSON(c, records)
	}
	for i, r := range records {
		if records[i], err = s.cfg.Triage.OpenQuarantined(ctx, actor(c), r.Sequence); err != nil {
			return s.triageError(err)
		}
	}
	return writeSecret(c, records)
}

// handler is Release or Discard.
type handler func(ctx context.Context, actor string, records []Record) ([]Handled, error)

// handleOne answers POST /api/v1/quarantine/{seq or delivery}/….
func (s *Server) handleOne(handle handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := onlyParameters(c.QueryParams()); err != nil {
			return err
		}
		ctx := c.Request().Context()
		records, err := s.cfg.Triage.Quarantined(ctx, c.Param("id"))
		if err != nil {
			return s.triageError(err)
		}
		return s.handle(c, handle, Records{Records: records})
	}
}

// handleMany answers POST /api/v1/quarantine/… for all that match, as many as
// go into one request. Who wants everything says so: no parameter is refused.
func (s *Server) handleMany(handle handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		v := c.QueryParams()
		if !v.Has("all") && !v.Has("source") && !v.Has("reason") {
			return badRequest("say which: source, reason or all")
		}
		v.Del("all")
		q, err := recordQuery(v, maxHandled, maxHandled)
		if err != nil {
			return err
		}
		records, err := s.cfg.Triage.Quarantine(c.Request().Context(), q)
		if err != nil {
			return s.triageError(err)
		}
		return s.handle(c, handle, records)
	}
}

func (s *Server) handle(c echo.Context, handle handler, list Records) error {
	answer := HandledList{Handled: []Handled{}, Last: list.Last, More: list.More}
	if n := len(list.Records); n > 0 {
		handled, err := handle(c.Request().Context(), actor(c), list.Records)
		if err != nil {
			return s.triageError(err)
		}
		answer.Handled, answer.Behind = handled, list.Records[n-1].Sequence
	}
	return writeJSON(c, answer)
}

// triageError turns an error of Triage into a status.
func (s *Server) triageError(err error) error {
	switch {
	case errors.Is(err, ErrNotThere):
		return echo.NewHTTPError(http.StatusNotFound, ErrNotThere.Error())
	case errors.Is(err, ErrSealed):
		return echo.NewHTTPError(http.StatusConflict, err.Error())
	}
	s.cfg.Log.Warn("a request can't be answered", "reason", err.Error())
	return echo.NewHTTPError(http.StatusServiceUnavailable, "the bus or the journal can't be asked now")
}

// writeSecret writes what no cache may keep.
func writeSecret(c echo.Context, v any) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return writeJSON(c, v)
}

func onlyParameters(v url.Values, known ...string) error {
	for name, values := range v {
		if !slices.Contains(known, name) || len(values) > 1 {
			return badRequest("there is a parameter that is unknown, or there more than once")
		}
	}
	return nil
}

func recordQuery(v url.Values, usual, most int) (RecordQuery, error) {
	q := RecordQuery{Source: v.Get("source"), Reason: v.Get("reason"), Limit: usual}
	if err := onlyParameters(v, "source", "reason", "after", "until", "limit"); err != nil {
		return q, err
	}
	if q.Source != "" && !schemas.SourceName.MatchString(q.Source) {
		return q, badRequest("source is no name of a source")
	}
	if len(q.Reason) > 50 || q.Reason != "" && schemas.Token(q.Reason) != q.Reason {
		return q, badRequest("reason is no reason")
	}
	for name, to := range map[string]*uint64{"after": &q.After, "until": &q.Until} {
		if text := v.Get(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return q, badRequest(name + " must be a sequence")
			}
			*to = n
		}
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return q, badRequest("limit must be a whole number from 1 to " + strconv.Itoa(most))
		}
		q.Limit = n
	}
	return q, nil
}
