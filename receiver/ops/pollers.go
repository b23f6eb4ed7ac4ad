package ops

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Pollers are those of the receiver. Their names have two parts:
// "concedus/agent-list".
type Pollers interface {
	// List tells how they are, sorted by name.
	List(ctx context.Context) ([]PollerStatus, error)
	// Act has one of them do what the verb says, in the name of an actor. It
	// fails with [ErrNotThere] if there is none of that name, and with
	// [ErrNothingToDo].
	Act(ctx context.Context, actor, name string, verb PollerVerb) error
}

// PollerVerb is what an operator can have a poller do.
type PollerVerb string

// What pollers do. Paused ones are paused on all receivers, also after a
// restart. Accept believes the scan that is suspect.
const (
	PollerRun    PollerVerb = "run"
	PollerPause  PollerVerb = "pause"
	PollerResume PollerVerb = "resume"
	PollerAccept PollerVerb = "accept"
)

// ErrNothingToDo says that there is nothing to be done: nothing is paused, or
// suspect.
var ErrNothingToDo = errors.New("there is nothing to do")

// PollerStatus is how a poller is.
type PollerStatus struct {
	Name     string  `json:"name"`
	Interval float64 `json:"interval"` // seconds
	// State is scanning, waiting (for its time), paused, held_up (because the
	// bus is), elsewhere (another receiver has its lease), suspect, or failing.
	State       string     `json:"state"`
	Error       string     `json:"error,omitempty"` // of the last scan
	Holder      string     `json:"holder,omitempty"`
	LastRun     *time.Time `json:"lastRun"`
	LastSuccess *time.Time `json:"lastSuccess"`
	Next        *time.Time `json:"next"`
	Failures    int        `json:"failures"` // in a row
	Entities    int        `json:"entities"` // that the platform shows
	Missing     int        `json:"missing"`  // of a suspect scan
	// Completeness is how much of what the platform told came by push, of what
	// this poller saw; null if that can't be said.
	Completeness *float64 `json:"completeness"`
}

func (s *Server) pollerRoutes(e *echo.Echo) {
	e.GET("/api/v1/pollers", s.pollers, s.Require(RoleViewer))
	e.POST("/api/v1/pollers/:source/:poller/:verb", s.act, s.Require(RoleOperator))
}

// pollers answers GET /api/v1/pollers.
func (s *Server) pollers(c echo.Context) error {
	list, err := s.cfg.Pollers.List(c.Request().Context())
	if err != nil {
		return s.triageError(err)
	}
	if list == nil {
		list = []PollerStatus{}
	}
	return writeJSON(c, struct {
		Pollers []PollerStatus `json:"pollers"`
	}{list})
}

// act answers POST /api/v1/pollers/SOURCE/POLLER/VERB: 200 when it is done, 404
// if there is no such poller, 409 if there is nothing to do.
func (s *Server) act(c echo.Context) error {
	verb := PollerVerb(c.Param("verb"))
	switch verb {
	case PollerRun, PollerPause, PollerResume, PollerAccept:
	default:
		return echo.ErrNotFound
	}
	name := c.Param("source") + "/" + c.Param("poller")
	err := s.cfg.Pollers.Act(c.Request().Context(), actor(c), name, verb)
	switch {
	case errors.Is(err, ErrNotThere):
		return echo.NewHTTPError(http.StatusNotFound, "there is no poller of that name")
	case errors.Is(err, ErrNothingToDo):
		return echo.NewHTTPError(http.StatusConflict, err.Error())
	case err != nil:
		return s.triageError(err)
	}
	return writeJSON(c, struct {
		Poller string     `json:"poller"`
		Done   PollerVerb `json:"done"`
	}{name, verb})
}
