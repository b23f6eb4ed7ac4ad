package ops

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// Check is how one part of the receiver is; Err is nil if it is well. Its text
// is shown to who asks, on one line.
type Check struct {
	Name string
	Err  error
}

// readyz answers whether a push could be taken now. Only the checks that
// decide it are asked, unless the question is verbose: a load balancer must
// not take away the receiver that can still accept because the bus is frozen.
func (s *Server) readyz(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	status, word := http.StatusOK, "ok"
	var lines strings.Builder
	for _, check := range s.cfg.Ready(ctx) {
		if check.Err != nil {
			status, word = http.StatusServiceUnavailable, "not ready"
		}
		line(&lines, check, "failed")
	}
	if !c.QueryParams().Has("verbose") {
		return c.String(status, word+"\n")
	}
	if s.cfg.Degraded != nil {
		for _, check := range s.cfg.Degraded(ctx) {
			line(&lines, check, "degraded")
		}
	}
	lines.WriteString("readyz: " + word + "\n")
	return c.String(status, lines.String())
}

// line writes a check as kube-apiserver does.
func line(b *strings.Builder, check Check, word string) {
	if check.Err == nil {
		b.WriteString("[+]" + check.Name + " ok\n")
		return
	}
	text := strings.Join(strings.Fields(check.Err.Error()), " ")
	b.WriteString("[-]" + check.Name + " " + word + ": " + text + "\n")
}
