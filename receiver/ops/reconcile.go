package ops

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/seed75441868/postern/schemas"
)

// Reconcile compares what a source's platform says with what is on the bus, in
// the name of an actor, and has told what is missing. It calls progress now and
// then with what it found by then, and once more when it is complete. It fails
// with [ErrNotThere] if there is no such source, and with a *NotNowError; ctx
// ends it at any time.
type Reconcile func(ctx context.Context, actor string, q ReconcileQuery, progress func(Reconciled) error) error

// ReconcileQuery says what is compared.
type ReconcileQuery struct {
	Source        string
	Since, Until  time.Time // Until is zero for a few minutes ago
	DryRun        bool      // only count what is missing
	AcceptRepeats bool      // also what is older than the bus keeps
}

// Reconciled is what a comparison found.
type Reconciled struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// At is how far it is; null if that isn't known.
	At    *time.Time `json:"at"`
	Facts int        `json:"facts"` // that the platform told
	// Unusable are facts that can't become events.
	Unusable int               `json:"unusable"`
	Types    []ReconciledTypes `json:"types"`
	Told     int               `json:"told"` // deliveries made of what is missing
	// Missing and Disagreeing are the ids of the first such events.
	Missing     []string `json:"missing"`
	Disagreeing []string `json:"disagreeing"`
	Complete    bool     `json:"complete"`
	// Error says why it ended before it was complete.
	Error string `json:"error,omitempty"`
}

// ReconciledTypes counts events of a type.
type ReconciledTypes struct {
	Type        string `json:"type"`
	Present     int    `json:"present"`
	Missing     int    `json:"missing"`
	Disagreeing int    `json:"disagreeing"`
}

// reconcile answers POST /api/v1/sources/SOURCE/reconcile with a line now and
// then (application/x-ndjson). The last says that it is complete, or why not.
func (s *Server) reconcile(c echo.Context) error {
	q, err := reconcileQuery(c, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	out := &stream{
		control:  http.NewResponseController(c.Response().Writer),
		patience: s.patience,
		response: c.Response(),
	}
	defer out.finish()
	var last Reconciled
	err = s.cfg.Reconcile(ctx, actor(c), q, func(r Reconciled) error {
		last = r
		return out.write(r)
	})
	var notNow *NotNowError
	switch {
	case err == nil:
		return out.start()
	case !last.From.IsZero(): // it began: the last line says why it ended
		last.Complete, last.Error = false, "the bus, the journal or the platform can't be asked now"
		if errors.As(err, &notNow) {
			last.Error = notNow.Detail
		}
		return out.write(last)
	case errors.Is(err, ErrNotThere):
		return echo.NewHTTPError(http.StatusNotFound, "there is no source of that name")
	case errors.As(err, &notNow):
		return echo.NewHTTPError(http.StatusConflict, notNow.Detail)
	}
	return s.triageError(err)
}

func reconcileQuery(c echo.Context, now time.Time) (ReconcileQuery, error) {
	v := c.QueryParams()
	known := []string{"since", "until", "dry_run", "accept_repeats"}
	for name, values := range v {
		if !slices.Contains(known, name) || len(values) > 1 {
			return ReconcileQuery{}, badRequest("there are since, until, dry_run and accept_repeats, each at most once")
		}
	}
	q := ReconcileQuery{Source: c.Param("name")}
	if !schemas.SourceName.MatchString(q.Source) {
		return q, echo.NewHTTPError(http.StatusNotFound, "there is no source of that name")
	}
	if v.Get("since") == "" {
		return q, badRequest("since is missing: how far back is to be compared, like 72h")
	}
	var err error
	if q.Since, err = since(v.Get("since"), now); err != nil {
		return q, err
	}
	if q.Until, err = since(v.Get("until"), now); err != nil {
		return q, badRequest(`until must be a duration like "1h", or a time like "2026-05-01T00:00:00Z"`)
	}
	for name, to := range map[string]*bool{"dry_run": &q.DryRun, "accept_repeats": &q.AcceptRepeats} {
		if text := v.Get(name); text != "" {
			if *to, err = strconv.ParseBool(text); err != nil {
				return q, badRequest(name + " must be true or false")
			}
		}
	}
	return q, nil
}
