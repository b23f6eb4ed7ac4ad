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
	// Act has one of them do what the verb says, in the name of an actor; a run
	// has ended when it returns. It fails with [ErrNotThere] if there is none
	// of that name, with [ErrNothingToDo], and with a *NotNowError.
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

// NotNowError says why a poller can't do now what it is asked for, or why it
// failed.
type NotNowError struct{ Detail string }

func (e *NotNowError) Error() string { return e.Detail }

// PollerStatus is how a poller is.
type PollerStatus struct {
	Name     string  `json:"name"`
	Interval float64 `json:"interval"` // seconds
	// State is scanning, waiting (for its time), paused, elsewhere (another
	// receiver polls it), suspect, or failing.
	State       string      `json:"state"`
	Error       string      `json:"error,omitempty"` // of the last scan, or what it waits for
	LastRun     *time.Time  `json:"lastRun"`
	LastSuccess *time.Time  `json:"lastSuccess"`
	Next        *time.Time  `json:"next"`
	Failures    int         `json:"failures"` // in a row
	Suspect     []Suspicion `json:"suspect,omitempty"`
	// Completeness says how completely the source pushes, as this poller found
	// since the receiver started; absent if it tells nothing of that.
	Completeness *Completeness `json:"completeness,omitempty"`
}

// Completeness says how much of what was polled had been pushed before.
type Completeness struct {
	Pushed  uint64 `json:"pushed"`
	Missed  uint64 `json:"missed"`  // told because it was polled
	Granted uint64 `json:"granted"` // of those, what we were entitled to see only later
	// Late is how long pushes took on average, in seconds, and Latest the
	// longest, as far as the platform says when something was.
	Late   float64 `json:"late"`
	Latest float64 `json:"latest"`
}

// Suspicion is a scan that shrank too much to be believed.
type Suspicion struct {
	Container string `json:"container"`
	Known     int    `json:"known"` // entities that were there
	Seen      int    `json:"seen"`  // of which so many were seen
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
	var notNow *NotNowError
	err := s.cfg.Pollers.Act(c.Request().Context(), actor(c), name, verb)
	switch {
	case errors.Is(err, ErrNotThere):
		return echo.NewHTTPError(http.StatusNotFound, "there is no poller of that name")
	case errors.Is(err, ErrNothingToDo):
		return echo.NewHTTPError(http.StatusConflict, err.Error())
	case errors.As(err, &notNow):
		return echo.NewHTTPError(http.StatusConflict, notNow.Detail)
	case err != nil:
		return s.triageError(err)
	}
	return writeJSON(c, struct {
		Poller string     `json:"poller"`
		Done   PollerVerb `json:"done"`
	}{name, verb})
}
