package concedus

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// tolerant reads what Concedus says however it spells the names of members:
// its documentation and its answers differ in it.
var tolerant = json.JoinOptions(json.MatchCaseInsensitiveNames(true), jsontext.AllowInvalidUTF8(true))

// grant is what a login gives (Authentication: Generate Session Token, Refresh
// Token).
type grant struct {
	AccessToken  string         `json:"accessToken"`
	Exp          seconds        `json:"exp"`
	RefreshToken string         `json:"refreshToken"`
	Codes        jsontext.Value `json:"errorMessageCodes"` // of a refused login
	Error        jsontext.Value `json:"error"`             // of a refused refresh
}

// errNoGrant says that a login gave no token and didn't say why.
var errNoGrant = errors.New("the answer has no accessToken")

// login returns how to log in to an account: with the newest refresh token if
// there is one, else, and when that is refused, with the password. A token
// lives four minutes.
func login(base, username, password string) handlers.Login {
	return func(ctx context.Context, ask handlers.Ask, before handlers.Token) (handlers.Token, error) {
		if before.Refresh != "" {
			token, err := granted(ctx, ask, "auth-refresh", base+"/v2/auth/refresh", map[string]string{"RefreshToken": before.Refresh})
			var answered *handlers.UpstreamError
			switch {
			case err == nil && token.Refresh == "":
				token.Refresh = before.Refresh
				return token, nil
			case err == nil:
				return token, nil
			case !errors.As(err, &answered) || answered.Code == 0 || answered.Code == http.StatusTooManyRequests:
				return handlers.Token{}, err
			}
		}
		return granted(ctx, ask, "auth-token", base+"/v2/auth/token", map[string]string{"username": username, "password": password})
	}
}

// granted asks for a token.
func granted(ctx context.Context, ask handlers.Ask, endpoint, url string, body map[string]string) (handlers.Token, error) {
	b, err := json.Marshal(body, json.Deterministic(true))
	if err != nil {
		return handlers.Token{}, errors.New("the login can't be written as JSON")
	}
	answer, err := ask(ctx, handlers.Call{Endpoint: endpoint, Method: http.MethodPost, URL: url, Body: b})
	if err != nil {
		return handlers.Token{}, err
	}
	fail := func(code int, err error) (handlers.Token, error) {
		return handlers.Token{}, &handlers.UpstreamError{Endpoint: endpoint, Code: code, Err: err}
	}
	var g grant
	switch err := json.Unmarshal(answer.Body, &g, tolerant); {
	case err != nil:
		return fail(answer.Code, handlers.ErrNotJSON)
	case g.AccessToken == "" && (said(g.Codes) || said(g.Error)):
		// A refusal, whatever the status says.
		return fail(http.StatusUnauthorized, errNoGrant)
	case g.AccessToken == "":
		return fail(answer.Code, errNoGrant)
	}
	return handlers.Token{Value: g.AccessToken, Expires: g.Exp.until(answer.Header, time.Now()), Refresh: g.RefreshToken}, nil
}

func said(v jsontext.Value) bool { return len(v) > 0 && v.Kind() != jsontext.KindNull }

// seconds is a time in seconds since 1970, 0 if absent.
type seconds int64

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *seconds) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case jsontext.KindString, jsontext.KindNumber:
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if n, err := strconv.ParseInt(token.String(), 10, 64); err == nil && n > 0 && n < 1e11 {
			*s = seconds(n)
		}
		return nil
	}
	return dec.SkipValue()
}

// until returns when a token ends by our clock. It is the platform's that
// counts: an answer says what that was.
func (s seconds) until(h http.Header, now time.Time) time.Time {
	if s == 0 {
		return time.Time{}
	}
	end := time.Unix(int64(s), 0)
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil && theirs.Before(end) {
		return now.Add(end.Sub(theirs))
	}
	return end
}
