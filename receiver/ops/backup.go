package ops

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/labstack/echo/v4"
)

// Backup copies what the receiver keeps into a folder of its machine that
// isn't there yet, in the name of an actor. Its error wraps [ErrBusy] if
// another backup is under way.
type Backup func(ctx context.Context, actor, dir string) error

// ErrBusy says that the same is under way already.
var ErrBusy = errors.New("another one is under way")

// backup answers POST /api/v1/backup?dir=: 200 when the backup is there, 409 if
// another one is under way, 422 with why there is none.
func (s *Server) backup(c echo.Context) error {
	dir := c.QueryParam("dir")
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return badRequest("dir must be the whole path of a folder on the receiver's machine")
	}
	// It takes as long as it takes, and is of use whether or not somebody
	// waits for the answer.
	control := http.NewResponseController(c.Response())
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
		return err
	}
	err := s.cfg.Backup(context.WithoutCancel(c.Request().Context()), actor(c), dir)
	switch {
	case errors.Is(err, ErrBusy):
		return echo.NewHTTPError(http.StatusConflict, err.Error())
	case err != nil:
		return echo.NewHTTPError(http.StatusUnprocessableEntity, err.Error())
	}
	return writeJSON(c, struct {
		Dir string `json:"dir"`
	}{dir})
}
