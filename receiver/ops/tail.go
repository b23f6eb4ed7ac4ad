package ops

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Tail calls fn for every event that matches q, in the stream's order, those
// that are there first and then, if q.Follow, those that come. It returns nil
// when there are no more, the error of fn if that fails, and ctx's error or
// nil when ctx ends.
type Tail func(ctx context.Context, q TailQuery, fn func(TailEvent) error) error

// TailQuery says which events somebody wants to see.
type TailQuery struct {
	Source string    // "" means all
	Type   string    // a pattern as path.Match reads it, "process.*"; "" means all
	Key    string    // the entity's, as the platform writes it; "" means all
	Since  time.Time // zero means that Last decides
	Last   int       // how many of those that are there; 0 means none, unless Since is given
	Follow bool      // go on with those that come
}

// TailEvent is an event as it lies on the bus. On the wire it is one line.
type TailEvent struct {
	Sequence uint64         `json:"sequence"`
	Subject  string         `json:"subject"`
	Event    jsontext.Value `json:"event"` // the CloudEvent
}

const (
	// silence is how long the answer waits for a first event. Until then a
	// failure is still told by a status.
	silence = 500 * time.Millisecond
	// patience is how long a reader may take for one event.
	patience = 10 * time.Second
	// maxLast is how many events may be asked for.
	maxLast = 1_000_000
)

// errEnough ends a tail that told as many events as were asked for.
var errEnough = errors.New("enough")

// tail answers GET /api/v1/tail with an event a line (application/x-ndjson).
// If it fails midway it breaks the connection, so that nobody takes a part for
// the whole.
func (s *Server) tail(c echo.Context) error {
	q, count, err := tailQuery(c.QueryParams(), time.Now())
	if err != nil {
		return err
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return echo.NewHTTPError(http.StatusServiceUnavailable, "too many streams; close one and try again")
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
	defer out.startAfter(silence).Stop()
	err = s.cfg.Tail(ctx, q, func(e TailEvent) error {
		if err := out.write(e); err != nil {
			return err
		}
		if count--; count == 0 {
			return errEnough
		}
		return nil
	})
	if err == nil || errors.Is(err, errEnough) || ctx.Err() != nil {
		return out.start()
	}
	if out.finish() {
		s.cfg.Log.Warn("tail broke off", "reason", err.Error())
		panic(http.ErrAbortHandler)
	}
	s.cfg.Log.Warn("tail failed", "reason", err.Error())
	return echo.NewHTTPError(http.StatusServiceUnavailable, "events can't be read now")
}

// stream writes events to somebody who may be slow. It may last for days, so
// the server's timeout must not end it, but who doesn't read what is written
// is cut off.
type stream struct {
	control  *http.ResponseController
	patience time.Duration

	mu       sync.Mutex
	response *echo.Response
	begun    bool
	over     bool
}

// startAfter starts the answer when d has gone by without an event.
func (s *stream) startAfter(d time.Duration) *time.Timer {
	return time.AfterFunc(d, func() { _ = s.start() }) // who hung up is found by the next write
}

// finish keeps the answer from being started any more, and reports whether it
// was. The response must not be touched after the handler returned; what
// net/http then writes to end it has its time.
func (s *stream) finish() (begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	_ = s.hurry() // it fails only on a connection that is gone
	return s.begun
}

// hurry gives the next write its time, whatever it took until then.
func (s *stream) hurry() error {
	return s.control.SetWriteDeadline(time.Now().Add(s.patience))
}

// start sends the header; once is enough.
func (s *stream) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.begun {
		return nil
	}
	s.begin()
	if err := s.hurry(); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *stream) begin() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.response.Header()
	h.Set(echo.HeaderContentType, "application/x-ndjson")
	h.Set(echo.HeaderCacheControl, "no-store")
	h.Set(echo.HeaderXContentTypeOptions, "nosniff")
	s.response.WriteHeader(http.StatusOK)
}

func (s *stream) write(e any) error {
	line, err := json.Marshal(e, jsontext.Multiline(false), json.Deterministic(true))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	if err := s.hurry(); err != nil {
		return err
	}
	if _, err := s.response.Write(append(line, '\n')); err != nil {
		return err
	}
	return s.control.Flush()
}

// tailQuery reads a query. Without any it is what comes from now on.
func tailQuery(v url.Values, now time.Time) (q TailQuery, count int, err error) {
	known := []string{"source", "type", "key", "since", "last", "count", "follow"}
	for name, values := range v {
		if !slices.Contains(known, name) {
			return q, 0, badRequest("unknown parameter; there are source, type, key, since, last, count and follow")
		}
		if len(values) > 1 {
			return q, 0, badRequest(name + " is there more than once")
		}
	}
	q = TailQuery{Source: v.Get("source"), Type: v.Get("type"), Key: v.Get("key"), Follow: true}
	if q.Source != "" && !schemas.SourceName.MatchString(q.Source) {
		return q, 0, badRequest("source is no name of a source")
	}
	if _, err := path.Match(q.Type, ""); err != nil || len(q.Type) > 100 {
		return q, 0, badRequest(`type must be a type or a pattern like "process.*"`)
	}
	if len(q.Key) > 200 {
		return q, 0, badRequest("key is too long")
	}
	if q.Since, err = since(v.Get("since"), now); err != nil {
		return q, 0, err
	}
	if q.Last, err = number(v, "last"); err != nil {
		return q, 0, err
	}
	if count, err = number(v, "count"); err != nil {
		return q, 0, err
	}
	if text := v.Get("follow"); text != "" {
		if q.Follow, err = strconv.ParseBool(text); err != nil {
			return q, 0, badRequest("follow must be true or false")
		}
	}
	return q, count, nil
}

// since reads a duration before now or a time.
func since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	var d handlers.Duration
	if err := d.UnmarshalText([]byte(text)); err == nil {
		return now.Add(-d.Std()), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, badRequest(`since must be a duration like "1h" or "2d", or a time like "2026-05-01T00:00:00Z"`)
	}
	return t, nil
}

func number(v url.Values, name string) (int, error) {
	text := v.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxLast {
		return 0, badRequest(name + " must be a whole number up to " + strconv.Itoa(maxLast))
	}
	return n, nil
}
