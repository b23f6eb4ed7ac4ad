package ops

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// HTTP gives tests the server, to shorten its timeouts before it serves.
func (s *Server) HTTP() *http.Server { return s.http }

// Patience sets how long a reader may take for one event.
func (s *Server) Patience(d time.Duration) { s.patience = d }

// Handle adds a route.
func (s *Server) Handle(method, path string, role Role) {
	s.http.Handler.(*echo.Echo).Add(method, path, func(c echo.Context) error {
		return c.String(http.StatusOK, "done")
	}, s.Require(role))
}

// Routes lists what the server answers.
func (s *Server) Routes() []*echo.Route { return s.http.Handler.(*echo.Echo).Routes() }
