package handlers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
)

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 4, 14, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"120":                           2 * time.Minute,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
		"999999999":                     24 * time.Hour,
		"99999999999999999999":          0,
		"Tue, 14 Apr 2026 10:05:00 GMT": 5 * time.Minute,
		"Tue, 14 Apr 2026 09:00:00 GMT": 0,
		"Tue, 14 Apr 2036 09:00:00 GMT": 24 * time.Hour,
	} {
		if got := handlers.RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestUpstreamErrorsSayWhatHappened(t *testing.T) {
	for want, err := range map[string]error{
		"things: answered 503":                        &handlers.UpstreamError{Endpoint: "things", Code: 503},
		"things: answered 200: the answer is no JSON": &handlers.UpstreamError{Endpoint: "things", Code: 200, Err: handlers.ErrNotJSON},
		"things: it changed while it was read":        &handlers.UpstreamError{Endpoint: "things", Err: handlers.ErrMoved},
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	if !errors.Is(&handlers.UpstreamError{Err: handlers.ErrMoved}, handlers.ErrMoved) {
		t.Error("what else there is to say isn't found")
	}
}

// answering is a client that always gets the same answer.
func answering(code int, contentType, body string) *http.Client {
	return &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		h := http.Header{"Retry-After": {"7"}}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnAnswerIsOneThatCanBeUsed(t *testing.T) {
	for _, c := range []struct {
		code       int
		kind, body string
		accept     []int
		good       bool
		notJSON    bool
	}{
		{code: 200, kind: "application/json; charset=utf-8", body: "{}", good: true},
		{code: 200, kind: "application/problem+json", body: "{}", good: true},
		{code: 204, good: true},
		{code: 200, kind: "text/html", body: "<html>", notJSON: true},
		{code: 200, body: "{}", notJSON: true},
		{code: 302, kind: "text/html", body: "<html>"},
		{code: 404, kind: "application/json", body: "{}"},
		{code: 404, kind: "text/html", body: "<html>", accept: []int{403, 404}, good: true},
		{code: 500, kind: "application/json", body: "{}", accept: []int{404}},
	} {
		s := handlers.NewSession(answering(c.code, c.kind, c.body), func(context.Context, handlers.Ask, handlers.Token) (handlers.Token, error) {
			return handlers.Token{Value: "t"}, nil
		})
		answer, err := s.Do(t.Context(), handlers.Call{Endpoint: "things", URL: "https://platform.invalid/secret", Accept: c.accept})
		var upstream *handlers.UpstreamError
		switch {
		case c.good:
			if err != nil || answer.Code != c.code || string(answer.Body) != c.body {
				t.Errorf("%+v: got %+v, %v", c, answer, err)
			}
		case !errors.As(err, &upstream) || upstream.Code != c.code || errors.Is(err, handlers.ErrNotJSON) != c.notJSON:
			t.Errorf("%+v: got %v", c, err)
		case strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "html"):
			t.Errorf("the error %v says too much", err)
		case !c.notJSON && upstream.RetryAfter != 7*time.Second:
			t.Errorf("%+v: wait %s", c, upstream.RetryAfter)
		}
	}
}
