package tokeny

import (
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
)

// Names of endpoints, for metrics and errors.
const (
	endpointSignIn     = "signin"
	endpointCandidates = "candidates"
	endpointHolders    = "holders"
)

// A token lives an hour (Frequently asked questions). One that doesn't say when
// it ends is replaced a little earlier, as is one that says what can't be: our
// clock or theirs may be wrong.
const (
	tokenLife   = 55 * time.Minute
	longestLife = 24 * time.Hour
)

// signIn returns how to get a token: with an account's mail address and
// password, each time anew. A [handlers.AuthError] that comes of it can mean
// that the password is wrong, that the account is locked, or that it has
// two-factor authentication, which must be switched off for an account that a
// program signs in with.
func signIn(base, email string, password handlers.Secret) handlers.Login {
	return func(ctx context.Context, ask handlers.Ask, _ handlers.Token) (handlers.Token, error) {
		fail := func(err error) (handlers.Token, error) {
			return handlers.Token{}, &handlers.UpstreamError{Endpoint: endpointSignIn, Err: err}
		}
		body, err := json.Marshal(struct {
			Email    string `json:"email"`
			Password string `json:"password"`
		}{email, password.Value()})
		if err != nil {
			return fail(errNoUTF8) // the library's errors quote values
		}
		answer, err := ask(ctx, handlers.Call{
			Endpoint: endpointSignIn, Method: http.MethodPost, URL: base + "/auth/signin", Body: body,
		})
		if err != nil {
			return handlers.Token{}, err
		}
		var said struct {
			Token string `json:"token"`
		}
		if json.Unmarshal(answer.Body, &said) != nil {
			return fail(handlers.ErrNotJSON)
		}
		if said.Token == "" {
			return fail(handlers.ErrIncomplete)
		}
		return handlers.Token{Value: said.Token, Expires: expiry(said.Token, time.Now())}, nil
	}
}

// expiry returns when a token ends, as it says itself.
func expiry(token string, now time.Time) time.Time {
	assumed := now.Add(tokenLife)
	var said struct {
		Expires float64 `json:"exp"` // seconds since 1970, perhaps with a fraction (RFC 7519, section 2)
	}
	if !handlers.Claims(token, &said) || said.Expires < 0 || said.Expires > 1<<40 {
		return assumed
	}
	at := time.Unix(int64(said.Expires), 0)
	if !at.After(now) || at.After(now.Add(longestLife)) {
		return assumed
	}
	return at
}
