package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Token is what a login gives.
type Token struct {
	Value   string
	Expires time.Time // zero if the platform doesn't say and it can't be read
	Refresh string    // what a next login may use instead of credentials
}

// Login gets a token. It is given the one before, or the zero Token, and fails
// with an [*UpstreamError] whose Code is 400, 401 or 403 if the credentials are
// refused. It goes through ask, which is bounded and counted, and never
// through the session itself.
type Login func(ctx context.Context, ask Ask, before Token) (Token, error)

// Ask sends one request without credentials and returns its answer, or an
// [*UpstreamError].
type Ask func(ctx context.Context, c Call) (Answer, error)

// Call is a request to a platform.
type Call struct {
	Endpoint string // for metrics and errors: the same for all entities
	Method   string // "": GET
	URL      string
	Header   http.Header
	Body     []byte
	// Accept lists codes besides those from 200 to 299 that are answers and no
	// errors, like 404 for something that may not be there.
	Accept []int
}

// Answer is what a platform answered.
type Answer struct {
	Code   int
	Header http.Header
	Body   []byte
	// Epoch is which of the session's tokens it was asked with. Pages of one
	// list belong together only if they have the same.
	Epoch uint64
}

// Session asks a platform's API under one login. It gets a token when it needs
// one, early enough before the one that it has ends, and once more when the
// platform refuses a token that it believed in. However many ask at once, one
// of them logs in. A refused login is not tried again for a while: a minute,
// then longer, at most an hour. A token that is refused as soon as it is given
// counts as a refused login; what else is asked with it goes on. It is safe for
// concurrent use.
type Session struct {
	client *http.Client
	login  Login
	scheme string

	mu      sync.Mutex // guards what follows
	token   Token
	renewAt time.Time // when the token is to be replaced, zero: when it is refused
	epoch   uint64
	fresh   time.Time // when the token was given, zero once it was answered
	renewal *renewal  // under way, or nil
	refused int       // logins in a row
	until   time.Time // when to log in again after that
	last    *AuthError
}

// renewal is a login that some wait for.
type renewal struct {
	done   chan struct{}
	err    error
	gaveUp bool // because its caller did
}

// freshFor is how long a token is new that was never answered.
const freshFor = time.Minute

// renewEarly is how long before its end a token is replaced, unless it lives
// so short that this would be most of its life.
const renewEarly = 30 * time.Second

// retryLogin is how long a refused login is not tried again, by how often it
// was refused in a row.
var retryLogin = [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// NewSession returns a session that has no token yet. The client bounds time
// and size; the token is sent as Authorization with the scheme Bearer.
func NewSession(client *http.Client, login Login) *Session {
	return &Session{client: client, login: login, scheme: "Bearer "}
}

// Do sends a call with a token and returns its answer. Its errors are an
// [*AuthError], an [*UpstreamError], or ctx's.
func (s *Session) Do(ctx context.Context, c Call) (Answer, error) {
	for again := false; ; again = true {
		token, epoch, err := s.valid(ctx)
		if err != nil {
			return Answer{}, err
		}
		call := c
		call.Header = c.Header.Clone()
		if call.Header == nil {
			call.Header = http.Header{}
		}
		call.Header.Set("Authorization", s.scheme+token)
		answer, err := send(ctx, s.client, call)
		answer.Epoch = epoch
		var answered *UpstreamError
		switch {
		case err == nil, errors.As(err, &answered) && answered.Code != 0 && answered.Code != http.StatusUnauthorized:
			s.trust(epoch)
			return answer, err
		case answered == nil || answered.Code == 0:
			return answer, err
		}
		if err := s.distrust(epoch, answered, again); err != nil {
			return Answer{}, err
		}
		if again {
			return answer, err // there is another token since
		}
	}
}

// trust notes that the platform takes a token.
func (s *Session) trust(epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == epoch {
		s.fresh, s.refused = time.Time{}, 0
	}
}

// Expires returns when the token ends, zero if there is none or it isn't known.
func (s *Session) Expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token.Expires
}

// valid returns a token that is believed to be valid, and its epoch.
func (s *Session) valid(ctx context.Context) (string, uint64, error) {
	for {
		s.mu.Lock()
		if now := time.Now(); s.token.Value != "" && (s.renewAt.IsZero() || now.Before(s.renewAt)) {
			defer s.mu.Unlock()
			return s.token.Value, s.epoch, nil
		} else if now.Before(s.until) {
			defer s.mu.Unlock()
			return "", 0, s.last
		}
		r := s.renewal
		if r == nil {
			r = &renewal{done: make(chan struct{})}
			s.renewal = r
			before := s.token
			s.mu.Unlock()
			s.renew(ctx, r, before)
		} else {
			s.mu.Unlock()
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
		// One that gave up because its caller did says nothing to others.
		if r.err != nil && (ctx.Err() != nil || !r.gaveUp) {
			return "", 0, r.err
		}
	}
}

// renew logs in for all that wait for r.
func (s *Session) renew(ctx context.Context, r *renewal, before Token) {
	ask := func(ctx context.Context, c Call) (Answer, error) { return send(ctx, s.client, c) }
	token, err := Token{}, errLogin // unless it returns
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.renewal = nil
		r.err, r.gaveUp = s.renewed(token, err), err != nil && ctx.Err() != nil
		close(r.done)
	}()
	token, err = s.login(ctx, ask, before)
	if err == nil && token.Value == "" {
		err = errLogin
	}
}

// errLogin says that a login gave neither a token nor a reason.
var errLogin = fmt.Errorf("login: %w", ErrIncomplete)

// renewed takes over what a login gave, and returns what those get who wait
// for it. mu is held.
func (s *Session) renewed(token Token, err error) error {
	now := time.Now()
	var answered *UpstreamError
	switch {
	case err == nil:
		s.token, s.renewAt, s.until, s.last = token, renewAt(token, now), time.Time{}, nil
		s.epoch, s.fresh = s.epoch+1, now
		return nil
	case errors.As(err, &answered) && (answered.Code == http.StatusBadRequest || answered.Code == http.StatusUnauthorized || answered.Code == http.StatusForbidden):
		s.token = Token{}
		return s.rest(now, answered)
	}
	return err
}

// rest notes that a login was refused. mu is held.
func (s *Session) rest(now time.Time, answered *UpstreamError) error {
	s.until = now.Add(retryLogin[min(s.refused, len(retryLogin)-1)])
	s.refused++
	s.last = &AuthError{Endpoint: answered.Endpoint, Code: answered.Code, Until: s.until}
	return s.last
}

// renewAt returns when a token is to be replaced.
func renewAt(token Token, now time.Time) time.Time {
	life := token.Expires.Sub(now)
	switch {
	case token.Expires.IsZero():
		return time.Time{}
	case life <= 0:
		// One clock is wrong. To log in again wouldn't help: the platform says
		// when it doesn't take the token any more.
		return time.Time{}
	case life < 2*renewEarly:
		return now.Add(life / 2)
	}
	return token.Expires.Add(-renewEarly)
}

// distrust forgets a token that the platform refused, unless there is another
// one already. What refreshes it is kept. It fails if there must be no other
// login yet, because this token was got for what is refused, or such a one was
// not long ago: then the token is kept for what else it may be good for, and
// the next login begins with the credentials.
func (s *Session) distrust(epoch uint64, refused *UpstreamError, again bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.epoch != epoch:
		return nil
	case now.Before(s.until):
		return s.last
	case again || !s.fresh.IsZero() && now.Sub(s.fresh) < freshFor:
		s.token.Refresh, s.fresh = "", time.Time{}
		return s.rest(now, refused)
	}
	s.token.Value = ""
	return nil
}

// send sends one request and reads its answer.
func send(ctx context.Context, client *http.Client, c Call) (Answer, error) {
	fail := func(code int, err error) (Answer, error) {
		return Answer{}, &UpstreamError{Endpoint: c.Endpoint, Code: code, Err: err}
	}
	method := c.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(WithEndpoint(ctx, c.Endpoint), method, c.URL, bytes.NewReader(c.Body))
	if err != nil {
		return fail(0, errors.New("it has no URL"))
	}
	if c.Header != nil {
		req.Header = c.Header.Clone()
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if len(c.Body) > 0 && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := client.Do(req)
	if err != nil {
		return fail(0, scrubbed(ctx, err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fail(0, scrubbed(ctx, err))
	}
	answer := Answer{Code: res.StatusCode, Header: res.Header, Body: body}
	good := res.StatusCode >= 200 && res.StatusCode < 300
	for _, code := range c.Accept {
		if res.StatusCode == code {
			return answer, nil
		}
	}
	if !good {
		return Answer{}, &UpstreamError{Endpoint: c.Endpoint, Code: res.StatusCode, RetryAfter: RetryAfter(res.Header, time.Now())}
	}
	if len(body) > 0 && !isJSON(res.Header.Get("Content-Type")) {
		return Answer{}, &UpstreamError{Endpoint: c.Endpoint, Code: res.StatusCode, Err: ErrNotJSON}
	}
	return answer, nil
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json"))
}
