package ops

import (
	"context"
	"regexp"

	"github.com/labstack/echo/v4"
)

// Events finds what was published. Its errors are those of [Triage].
type Events interface {
	// Event returns an event without what not everybody may see.
	Event(ctx context.Context, id string) (TailEvent, error)
	// Restricted returns an event's restricted twin.
	Restricted(ctx context.Context, actor, id string) (TailEvent, error)
	// Raw opens the delivery that told an event.
	Raw(ctx context.Context, actor, id string) (Record, error)
}

func (s *Server) eventRoutes(e *echo.Echo) {
	read, unseal := s.Require(RoleViewer), s.Require(RoleUnseal)
	e.GET("/api/v1/events/:id", func(c echo.Context) error {
		return s.find(c, s.cfg.Events.Event)
	}, read)
	e.GET("/api/v1/events/:id/restricted", func(c echo.Context) error {
		return s.find(c, func(ctx context.Context, id string) (TailEvent, error) {
			return s.cfg.Events.Restricted(ctx, actor(c), id)
		})
	}, unseal)
	e.GET("/api/v1/events/:id/raw", s.raw, unseal)
}

// eventID is what an event's id looks like.
var eventID = regexp.MustCompile(`^[A-Za-z0-9:._=-]{1,600}$`)

func (s *Server) find(c echo.Context, from func(context.Context, string) (TailEvent, error)) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	event, err := from(c.Request().Context(), id)
	if err != nil {
		return s.triageError(err)
	}
	return writeSecret(c, event)
}

func (s *Server) raw(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	record, err := s.cfg.Events.Raw(c.Request().Context(), actor(c), id)
	if err != nil {
		return s.triageError(err)
	}
	return writeSecret(c, record)
}

func idOf(c echo.Context) (string, error) {
	if err := onlyParameters(c.QueryParams()); err != nil {
		return "", err
	}
	id := c.Param("id")
	if !eventID.MatchString(id) {
		return "", badRequest("that is no event's id")
	}
	return id, nil
}
