package ops

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"
)

// problem answers with an error as RFC 9457 says. It is Echo's error handler.
func (s *Server) problem(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, detail := http.StatusInternalServerError, ""
	var known *echo.HTTPError
	if errors.As(err, &known) {
		status = known.Code
		if text, ok := known.Message.(string); ok && text != http.StatusText(status) {
			detail = text
		}
	} else {
		s.cfg.Log.Error("request failed", "reason", err.Error())
	}
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
	}{"about:blank", http.StatusText(status), status, detail})
	if err != nil {
		body = []byte("{}")
	}
	if c.Request().Method == http.MethodHead {
		_ = c.NoContent(status)
		return
	}
	_ = c.Blob(status, "application/problem+json", body) // who hung up doesn't hear it
}

func badRequest(detail string) error { return echo.NewHTTPError(http.StatusBadRequest, detail) }

func writeJSON(c echo.Context, v any) error {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "application/json", append(body, '\n'))
}

// sameSite keeps web pages out that a browser on this machine shows: those of
// other sites that send what changes something, and on loopback, where reading
// needs no token, those that made a name of theirs point here.
func (s *Server) sameSite(next echo.HandlerFunc) echo.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		if s.loopback && !s.isOurs(c.Request().Host) {
			return echo.NewHTTPError(http.StatusForbidden, "call this listener by its address or as localhost")
		}
		if err := protection.Check(c.Request()); err != nil {
			return echo.NewHTTPError(http.StatusForbidden, "cross-origin request")
		}
		return next(c)
	}
}

// isOurs reports whether host, with or without a port, is a name of a loopback
// listener that nobody else can give away.
func (s *Server) isOurs(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// schemaIndex lists the schemas.
func (s *Server) schemaIndex(c echo.Context) error {
	names, err := fs.Glob(s.cfg.Schemas, "*.v1.json")
	if err != nil {
		return err
	}
	type entry struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	}
	list := make([]entry, 0, len(names))
	for _, name := range names {
		list = append(list, entry{strings.TrimSuffix(name, ".json"), "/schemas/" + name})
	}
	return writeJSON(c, list)
}

// schema answers with one schema.
func (s *Server) schema(c echo.Context) error {
	name := c.Param("name")
	if !strings.HasSuffix(name, ".v1.json") || strings.Contains(name, "/") || !fs.ValidPath(name) {
		return echo.ErrNotFound
	}
	data, err := fs.ReadFile(s.cfg.Schemas, name)
	if errors.Is(err, fs.ErrNotExist) {
		return echo.ErrNotFound
	}
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "application/schema+json", data)
}

// panicked says where the panic that is being recovered came from.
func panicked() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return f.Function + ":" + strconv.Itoa(f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

func sprint(v []any) string { return strings.Join(strings.Fields(fmt.Sprint(v...)), " ") }
