package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// UpstreamError says that a platform's API did not answer as it should. Its
// text has nothing of a URL's path or query, of a header or of a body.
type UpstreamError struct {
	Endpoint string
	// Code is the status of the answer, 0 if there was none or it can't be
	// used as it is.
	Code int
	// RetryAfter is how long the platform wants not to be asked, 0 if it
	// didn't say.
	RetryAfter time.Duration
	Err        error // what else there is to say, or nil
}

func (e *UpstreamError) Error() string {
	text := e.Endpoint
	if e.Code != 0 {
		text += ": answered " + strconv.Itoa(e.Code)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what else there is to say.
func (e *UpstreamError) Unwrap() error { return e.Err }

// AuthError says that a platform refuses a login. It is not tried again before
// the time Until, because a platform may lock an account that keeps trying.
type AuthError struct {
	Endpoint string
	Code     int // what the platform answered
	Until    time.Time
}

func (e *AuthError) Error() string {
	return fmt.Sprintf("%s: the login is refused with %d; check the credentials; it is tried again at %s",
		e.Endpoint, e.Code, e.Until.UTC().Format(time.RFC3339))
}

// Errors of answers that can't be used.
var (
	ErrNotJSON    = errors.New("the answer is no JSON")
	ErrIncomplete = errors.New("the answer lacks what it should have")
	// ErrMoved says that what was asked for changed while it was read, so that
	// it must be read again from its beginning.
	ErrMoved = errors.New("it changed while it was read")
)

type endpointKey struct{}

// WithEndpoint says in a context which endpoint a request is for: a name that
// is the same for all entities, which metrics count by.
func WithEndpoint(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, endpointKey{}, name)
}

// Endpoint returns what WithEndpoint said, "other" if nothing.
func Endpoint(ctx context.Context) string {
	if name, ok := ctx.Value(endpointKey{}).(string); ok {
		return name
	}
	return "other"
}

// RetryAfter reads the header of that name: seconds or a date (RFC 9110,
// section 10.2.3). It is 0 if there is none, and a day at most.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	const most = 24 * time.Hour
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, most)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}
