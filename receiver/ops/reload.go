package ops

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"
)

// Reload reads the configuration again in the name of an actor. Its error is a
// *ReloadError if the configuration is bad, and [ErrEnding] if it comes too
// late; then everything is as before.
type Reload func(ctx context.Context, actor string) (Reloaded, error)

// Reloaded is what became of a new configuration.
type Reloaded struct {
	Applied  []Change  `json:"applied"`  // what is different from now on
	Restart  []string  `json:"restart"`  // settings that differ from what runs until it is started again
	Warnings []Problem `json:"warnings"` // of the configuration
}

// Change is a setting, or a source, that is different from now on.
type Change struct {
	Setting string `json:"setting"`
	How     string `json:"how"` // added, changed or removed
}

// Problem is what is wrong at one place of a configuration.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitzero"` // from 1; 0 if the whole file is meant
	Column  int    `json:"column,omitzero"`
	Message string `json:"message"`
}

// ErrEnding says that the receiver is about to end.
var ErrEnding = errors.New("the receiver is ending; what it would read now is read at its next start")

// ReloadError says what is wrong with a configuration that was not applied.
type ReloadError struct{ Problems []Problem }

func (e *ReloadError) Error() string {
	return "the new configuration has problems, the old one stays: " + strconv.Itoa(len(e.Problems))
}

// reload answers POST /api/v1/reload: 200 with what was applied, 422 with what
// is wrong, 503 when the receiver is ending.
func (s *Server) reload(c echo.Context) error {
	done, err := s.cfg.Reload(c.Request().Context(), actor(c))
	var bad *ReloadError
	switch {
	case errors.As(err, &bad):
		return badConfiguration(c, bad)
	case errors.Is(err, ErrEnding):
		return echo.NewHTTPError(http.StatusServiceUnavailable, err.Error())
	case err != nil:
		return err
	}
	return writeJSON(c, done)
}

// badConfiguration is a problem of RFC 9457 with an extension member (section
// 3.2) that lists the places.
func badConfiguration(c echo.Context, bad *ReloadError) error {
	const status = http.StatusUnprocessableEntity
	body, err := json.Marshal(struct {
		Type     string    `json:"type"`
		Title    string    `json:"title"`
		Status   int       `json:"status"`
		Detail   string    `json:"detail"`
		Problems []Problem `json:"problems"`
	}{"about:blank", http.StatusText(status), status, "the new configuration is bad; the old one stays", bad.Problems})
	if err != nil {
		return err
	}
	return c.Blob(status, "application/problem+json", body)
}
