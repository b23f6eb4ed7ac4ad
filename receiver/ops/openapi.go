package ops

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/seed75441868/postern/schemas"
)

// Every route is described in openapi_routes_test.go, from which the document
// is made; a route that isn't fails a test.
//go:generate go test -run TestOpenAPIIsThatOfTheRoutes -update .

// documentRoutes are those of what describes this listener and the bus.
func (s *Server) documentRoutes(e *echo.Echo) {
	read := s.Require(RoleViewer)
	e.GET("/openapi.json", document(schemas.OpenAPI()), read)
	e.GET("/asyncapi.json", document(schemas.AsyncAPI()), read)
}

func document(body []byte) echo.HandlerFunc {
	return func(c echo.Context) error { return c.Blob(http.StatusOK, "application/json", body) }
}
