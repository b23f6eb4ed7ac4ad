package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// api is a platform in memory. It believes in the token that it gave last.
type api struct {
	mu      sync.Mutex
	life    time.Duration // of tokens, 0: it doesn't say
	refuse  int           // what logins are answered with, 0: a token
	takes   time.Duration // that a login takes
	revoked bool          // it believes in no token
	closed  string        // a path where it believes in none
	logins  int
	calls   int
	given   string
	before  []handlers.Token
}

func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/login" {
		select {
		case <-time.After(a.takes):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := func(code int, body string) (*http.Response, error) {
		return &http.Response{
			StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
	if r.URL.Path == "/login" {
		a.logins++
		if r.Header.Get("Authorization") != "" {
			return nil, errors.New("a login was sent with a token")
		}
		if a.refuse != 0 {
			return answer(a.refuse, "")
		}
		a.given = fmt.Sprintf("token-%d", a.logins)
		return answer(200, a.given)
	}
	a.calls++
	if a.revoked || r.URL.Path == a.closed || r.Header.Get("Authorization") != "Bearer "+a.given {
		return answer(401, "")
	}
	return answer(200, "{}")
}

func (a *api) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *api) login(ctx context.Context, ask handlers.Ask, before handlers.Token) (handlers.Token, error) {
	answer, err := ask(ctx, handlers.Call{Endpoint: "token", Method: http.MethodPost, URL: "https://platform.invalid/login"})
	if err != nil {
		return handlers.Token{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before = append(a.before, before)
	t := handlers.Token{Value: string(answer.Body), Refresh: "refresh-" + string(answer.Body)}
	if a.life != 0 {
		t.Expires = time.Now().Add(a.life)
	}
	return t, nil
}

func (a *api) session() *handlers.Session {
	return handlers.NewSession(&http.Client{Transport: a}, a.login)
}

func (a *api) count() (logins, calls int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.logins, a.calls
}

func do(ctx context.Context, s *handlers.Session) (handlers.Answer, error) {
	return s.Do(ctx, handlers.Call{Endpoint: "things", URL: "https://platform.invalid/things"})
}

func (a *api) expect(t *testing.T, logins, calls int) {
	t.Helper()
	if l, c := a.count(); l != logins || c != calls {
		t.Errorf("%d logins and %d calls, want %d and %d", l, c, logins, calls)
	}
}

func TestHoweverManyAskOneLogsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{life: time.Hour, takes: time.Second}
		s := a.session()
		var all sync.WaitGroup
		round := func() {
			for range 100 {
				all.Go(func() {
					if _, err := do(t.Context(), s); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		round()
		a.expect(t, 1, 100)
		// All are refused, and one of them gets the next token.
		a.set(func() { a.given = "another" })
		round()
		if logins, _ := a.count(); logins != 2 {
			t.Errorf("%d logins, want 2", logins)
		}
		time.Sleep(time.Hour)
		round()
		if logins, _ := a.count(); logins != 3 {
			t.Errorf("%d logins, want 3", logins)
		}
	})
}

func TestATokenThatIsRefusedIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{life: time.Hour}
		s := a.session()
		first, err := do(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		a.set(func() { a.given = "another" })
		second, err := do(t.Context(), s)
		if err != nil || second.Epoch == first.Epoch {
			t.Errorf("epoch %d after %d, %v", second.Epoch, first.Epoch, err)
		}
		a.expect(t, 2, 3)
		if a.before[1].Refresh != "refresh-token-1" {
			t.Errorf("the login was given %+v", a.before[1])
		}
	})
}

// Tokens that are refused as soon as they are given are no reason to log in
// for ever.
func TestATokenThatIsRefusedAtOnceIsARefusedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{revoked: true}
		s := a.session()
		began := time.Now()
		logins := 0
		for _, wait := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour} {
			logins++
			until := time.Now().Add(wait)
			for time.Now().Before(until) {
				var refused *handlers.AuthError
				_, err := do(t.Context(), s)
				if !errors.As(err, &refused) || refused.Code != 401 || refused.Endpoint != "things" || !refused.Until.Equal(until) {
					t.Fatalf("after %s: got %v, want to wait until %s", time.Since(began), err, until)
				}
				if l, _ := a.count(); l != logins {
					t.Fatalf("%d logins after %s, want %d", l, time.Since(began), logins)
				}
				time.Sleep(wait / 10)
			}
		}
		if a.before[1].Refresh != "" {
			t.Errorf("the login after a refused one was given %+v", a.before[1])
		}
		a.set(func() { a.revoked = false })
		if _, err := do(t.Context(), s); err != nil {
			t.Error(err)
		}
		// From now on it begins anew, with a token that was good until now.
		a.set(func() { a.revoked = true })
		var refused *handlers.AuthError
		if _, err := do(t.Context(), s); !errors.As(err, &refused) || !refused.Until.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("got %v", err)
		}
	})
}

// One endpoint that takes no token spoils nothing for the others.
func TestAnEndpointThatTakesNoTokenStandsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{closed: "/closed"}
		s := a.session()
		closed := handlers.Call{Endpoint: "closed", URL: "https://platform.invalid/closed"}
		for range 60 {
			if _, err := do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			var refused *handlers.AuthError
			if _, err := s.Do(t.Context(), closed); !errors.As(err, &refused) || refused.Endpoint != "closed" {
				t.Fatalf("got %v", err)
			}
			time.Sleep(10 * time.Second)
		}
		if logins, _ := a.count(); logins > 11 {
			t.Errorf("%d logins in ten minutes", logins)
		}
	})
}

func TestARefusedLoginIsNotRepeatedBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{refuse: 401}
		s := a.session()
		logins := 0
		for _, wait := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour} {
			logins++
			until := time.Now().Add(wait)
			for time.Now().Before(until) {
				var refused *handlers.AuthError
				_, err := do(t.Context(), s)
				if !errors.As(err, &refused) || refused.Code != 401 || refused.Endpoint != "token" || !refused.Until.Equal(until) {
					t.Fatalf("got %v, want to wait until %s", err, until)
				}
				a.expect(t, logins, 0)
				time.Sleep(wait / 10)
			}
		}
		a.set(func() { a.refuse = 0 })
		if _, err := do(t.Context(), s); err != nil {
			t.Error(err)
		}
		// From now on it begins anew.
		a.set(func() { a.refuse, a.given = 403, "another" })
		began := time.Now()
		var refused *handlers.AuthError
		if _, err := do(t.Context(), s); !errors.As(err, &refused) || !refused.Until.Equal(began.Add(time.Minute)) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAPlatformThatFailsIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{refuse: 503}
		s := a.session()
		for range 3 {
			var failed *handlers.UpstreamError
			if _, err := do(t.Context(), s); !errors.As(err, &failed) || failed.Code != 503 {
				t.Errorf("got %v", err)
			}
		}
		a.expect(t, 3, 0)
	})
}

func TestATokenIsReplacedBeforeItEnds(t *testing.T) {
	for _, c := range []struct{ life, good time.Duration }{
		{time.Hour, time.Hour - 30*time.Second},
		{4 * time.Minute, 210 * time.Second},
		{time.Minute, 30 * time.Second},
		{40 * time.Second, 20 * time.Second},
		{2 * time.Second, time.Second},
	} {
		t.Run(c.life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &api{life: c.life}
				s := a.session()
				began := time.Now()
				call := func(at time.Duration, logins int) {
					t.Helper()
					time.Sleep(time.Until(began.Add(at)))
					if _, err := do(t.Context(), s); err != nil {
						t.Error(err)
					}
					if l, _ := a.count(); l != logins {
						t.Errorf("%d logins after %s, want %d", l, at, logins)
					}
				}
				call(0, 1)
				if got := s.Expires(); !got.Equal(began.Add(c.life)) {
					t.Errorf("ends at %s, want %s", got, began.Add(c.life))
				}
				call(c.good-time.Millisecond, 1)
				call(c.good, 2)
			})
		})
	}
}

// A token that has ended when it is given, by one clock or the other, is used
// until it is refused, and doesn't make us log in for ever.
func TestATokenOfAnotherClockIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{life: -time.Hour}
		s := a.session()
		for range 3 {
			if _, err := do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		a.expect(t, 1, 3)
	})
}

func TestALoginWithoutATokenFails(t *testing.T) {
	s := handlers.NewSession(&http.Client{Transport: &api{}}, func(context.Context, handlers.Ask, handlers.Token) (handlers.Token, error) {
		return handlers.Token{}, nil
	})
	if _, err := do(t.Context(), s); !errors.Is(err, handlers.ErrIncomplete) {
		t.Errorf("got %v", err)
	}
}

func TestWhoGivesUpSpoilsNothingForOthers(t *testing.T) {
	for name, giveUp := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancelled": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		},
		"late": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &api{takes: 10 * time.Second}
				s := a.session()
				ctx, cancel := giveUp(t.Context())
				defer cancel()
				var all sync.WaitGroup
				all.Go(func() {
					if _, err := do(ctx, s); err == nil || ctx.Err() == nil {
						t.Errorf("who gave up got %v", err)
					}
				})
				synctest.Wait() // that one logs in, the others wait for it
				for range 5 {
					all.Go(func() {
						if _, err := do(t.Context(), s); err != nil {
							t.Error(err)
						}
					})
				}
				all.Go(func() {
					began := time.Now()
					if _, err := do(ctx, s); err == nil || time.Since(began) > 2*time.Second {
						t.Errorf("a waiter that gave up got %v after %s", err, time.Since(began))
					}
				})
				all.Wait()
				a.expect(t, 1, 5)
			})
		})
	}
}

// A login that panics leaves nobody waiting.
func TestALoginThatPanicsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := true
		a := &api{}
		s := handlers.NewSession(&http.Client{Transport: a}, func(ctx context.Context, ask handlers.Ask, before handlers.Token) (handlers.Token, error) {
			if panics {
				panic("oh")
			}
			return a.login(ctx, ask, before)
		})
		func() {
			defer func() { _ = recover() }()
			_, _ = do(t.Context(), s)
		}()
		panics = false
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := do(ctx, s); err != nil {
			t.Error(err)
		}
	})
}
