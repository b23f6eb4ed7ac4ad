package ops

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// HTTP gives tests the server, to shorten its timeouts before it serves.
func (s *Server) HTTP() *http.Server { return s.http }

// Handle adds a route.
func (s *Server) Handle(method, path string, role Role) {
	s.http.Handler.(*echo.Echo).Add(method, path, func(c echo.Context) error {
		return c.String(http.StatusOK, "done")
	}, s.Require(role))
}
