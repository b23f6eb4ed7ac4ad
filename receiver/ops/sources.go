package ops

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/seed75441868/postern/schemas"
)

// Sources are what operators see and do of the sources. Their errors wrap
// [ErrNoSource] or [ErrNothingWaits] or are transient.
type Sources interface {
	// Sources lists all sources that are configured, sorted by name.
	Sources(ctx context.Context) ([]Source, error)
	// Confirm confirms, in the name of an actor, the subscriptions of a source
	// that wait for it. That is told on POSTERN_OPS.
	Confirm(ctx context.Context, actor, name string) ([]Confirmation, error)
}

// ErrNoSource says that no source of that name is configured.
var ErrNoSource = errors.New("there is no such source")

// ErrNothingWaits says that no subscription of a source waits to be confirmed.
var ErrNothingWaits = errors.New("no subscription of that source waits to be confirmed")

// Source is a source as it is configured, and what became of its
// subscriptions.
type Source struct {
	Name     string      `json:"name"`
	Platform string      `json:"platform"`
	Push     *SourcePush `json:"push"`    // null: it doesn't push
	Pollers  []string    `json:"pollers"` // by name
}

// SourcePush is how a source pushes.
type SourcePush struct {
	Signature string     `json:"signature"` // how pushes are authenticated, in a word of the platform's settings
	LastPush  *time.Time `json:"lastPush"`  // authentic; null if none is known of
	// ConfirmSubscriptions says that nobody is asked before a subscription is
	// confirmed.
	ConfirmSubscriptions bool `json:"confirmSubscriptions"`
	// Waiting are subscriptions that are not confirmed yet, and Ended those
	// that somebody ended.
	Waiting []WaitingConfirmation `json:"waiting"`
	Ended   []EndedSubscription   `json:"ended"`
}

// WaitingConfirmation is a subscription that waits to be confirmed.
type WaitingConfirmation struct {
	Topic    string    `json:"topic"`
	Event    string    `json:"event"`    // id of the event that told it
	Asked    time.Time `json:"asked"`    // when the platform asked
	Deadline time.Time `json:"deadline"` // when it lapses
	Lapsed   bool      `json:"lapsed"`
	// Tries is how often this receiver tried to confirm it since it started,
	// and Failure why it did not succeed, "" if it was not tried.
	Tries   int    `json:"tries"`
	Failure string `json:"failure,omitempty"`
}

// EndedSubscription is a subscription that somebody ended.
type EndedSubscription struct {
	Topic string    `json:"topic"`
	Event string    `json:"event"` // id of the event that told it
	Ended time.Time `json:"ended"`
}

// Confirmation is what became of a subscription that waited to be confirmed.
type Confirmation struct {
	Topic   string `json:"topic"`
	Outcome string `json:"outcome"`          // confirmed, refused, failed or busy
	Detail  string `json:"detail,omitempty"` // why it is not confirmed
}

// The outcomes of a confirmation.
const (
	OutcomeConfirmed = "confirmed"
	OutcomeRefused   = "refused" // trying again is of no use
	OutcomeFailed    = "failed"  // it may succeed later
	OutcomeBusy      = "busy"    // another receiver is about it
)

// SourceList is the answer to who asks for the sources.
type SourceList struct {
	Sources []Source `json:"sources"`
}

// ConfirmationList is the answer to who confirms.
type ConfirmationList struct {
	Confirmations []Confirmation `json:"confirmations"`
}

func (s *Server) sourceRoutes(e *echo.Echo) {
	e.GET("/api/v1/sources", s.sources, s.Require(RoleViewer))
	e.POST("/api/v1/sources/:name/confirm", s.confirm, s.Require(RoleOperator))
}

// sources answers GET /api/v1/sources.
func (s *Server) sources(c echo.Context) error {
	if err := onlyParameters(c.QueryParams()); err != nil {
		return err
	}
	list, err := s.cfg.Sources.Sources(c.Request().Context())
	if err != nil {
		return s.sourceError(err)
	}
	return writeJSON(c, SourceList{list})
}

// confirm answers POST /api/v1/sources/{name}/confirm: 200 with what became of
// each subscription that waited, 404 if there is no source or nothing waits.
func (s *Server) confirm(c echo.Context) error {
	if err := onlyParameters(c.QueryParams()); err != nil {
		return err
	}
	name := c.Param("name")
	if !schemas.SourceName.MatchString(name) {
		return badRequest("that is no name of a source")
	}
	list, err := s.cfg.Sources.Confirm(c.Request().Context(), actor(c), name)
	if err != nil {
		return s.sourceError(err)
	}
	return writeJSON(c, ConfirmationList{list})
}

// sourceError turns an error of Sources into a status.
func (s *Server) sourceError(err error) error {
	for _, known := range []error{ErrNoSource, ErrNothingWaits} {
		if errors.Is(err, known) {
			return echo.NewHTTPError(http.StatusNotFound, known.Error())
		}
	}
	s.cfg.Log.Warn("a request can't be answered", "reason", err.Error())
	return echo.NewHTTPError(http.StatusServiceUnavailable, "the bus can't be asked now")
}
