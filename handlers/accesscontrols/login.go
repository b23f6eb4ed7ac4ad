package accesscontrols

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// The scopes that a source may ask for. None of them is for writing but
// accesscontrol-admin, which full documents need.
const (
	scopeRead      = "accesscontrol-read"
	scopeAdmin     = "accesscontrol-admin"
	scopeAdminRead = "accesscontrol-admin-read"
	scopeDeals     = "deals-read"
)

const tokenEndpoint = "token"

// grant is what the token says of us.
type grant struct {
	firm   string   // our firm's id, "" if it doesn't say
	scopes []string // what we may do
}

// scopes lists those to ask for. The last of them we can do without.
func (a *source) scopes(spared bool) []string {
	scopes := []string{scopeRead}
	if a.withDeals() {
		scopes = append(scopes, scopeDeals)
	}
	if a.settings.View == ViewFull {
		scopes = append(scopes, scopeAdmin)
	}
	if !a.settings.Shared && !spared { // grants of shared data have no admin's read
		scopes = append(scopes, scopeAdminRead)
	}
	return scopes
}

// login implements [handlers.Login]: client credentials (RFC 6749, section
// 4.4). A token lives 20 minutes and nothing refreshes it.
func (a *source) login(ctx context.Context, ask handlers.Ask, _ handlers.Token) (handlers.Token, error) {
	a.mu.Lock()
	spared := a.spared
	a.mu.Unlock()
	scopes := a.scopes(spared)
	answer, err := a.ask(ctx, ask, scopes)
	if err != nil {
		return handlers.Token{}, err
	}
	if answer.Code == http.StatusBadRequest {
		var problem struct {
			Error string `json:"error"`
		}
		refused := &handlers.UpstreamError{Endpoint: tokenEndpoint, Code: answer.Code}
		// A client that has no scope of that name gets no token at all.
		if json.Unmarshal(answer.Body, &problem) != nil || problem.Error != "invalid_scope" || spared || a.settings.Shared {
			return handlers.Token{}, refused
		}
		scopes = a.scopes(true)
		if answer, err = a.ask(ctx, ask, scopes); err != nil {
			return handlers.Token{}, err
		}
		if answer.Code == http.StatusBadRequest {
			return handlers.Token{}, refused
		}
		spared = true
	}
	token, g, err := readToken(answer.Body, scopes, time.Now())
	if err != nil {
		return handlers.Token{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.grant, a.spared = g, spared
	return token, nil
}

func (a *source) ask(ctx context.Context, ask handlers.Ask, scopes []string) (handlers.Answer, error) {
	form := url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {a.settings.API.ClientID},
		"client_secret": {a.settings.API.ClientSecret.Value()},
		"scope":         {strings.Join(scopes, " ")},
	}
	return ask(ctx, handlers.Call{
		Endpoint: tokenEndpoint,
		Method:   http.MethodPost,
		URL:      a.settings.API.TokenURL,
		Header:   http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:     []byte(form.Encode()),
		Accept:   []int{http.StatusBadRequest},
	})
}

// readToken reads the token endpoint's answer. What the token itself says is
// not verified: it is for whom it is shown to, and only hints for us.
func readToken(body []byte, asked []string, now time.Time) (handlers.Token, grant, error) {
	var said struct {
		AccessToken string         `json:"access_token"`
		ExpiresIn   jsontext.Value `json:"expires_in"`
		Scope       words          `json:"scope"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return handlers.Token{}, grant{}, fmt.Errorf("%s: %w", tokenEndpoint, handlers.ErrNotJSON)
	}
	if said.AccessToken == "" {
		return handlers.Token{}, grant{}, fmt.Errorf("%s: %w", tokenEndpoint, handlers.ErrIncomplete)
	}
	var claims struct {
		Exp    jsontext.Value `json:"exp"`
		FirmID text           `json:"firm_id"`
		Scope  words          `json:"scope"`
	}
	_ = handlers.Claims(said.AccessToken, &claims) // one of another type takes nothing from the others
	token := handlers.Token{Value: said.AccessToken}
	// What counts from now needs no clock that agrees with ours.
	if in, ok := seconds(said.ExpiresIn); ok && in > 0 {
		token.Expires = now.Add(time.Duration(in) * time.Second)
	} else if at, ok := seconds(claims.Exp); ok && at > 0 {
		token.Expires = time.Unix(at, 0)
	}
	g := grant{firm: string(claims.FirmID), scopes: slices.Concat([]string(claims.Scope), []string(said.Scope))}
	if claims.Scope == nil && said.Scope == nil { // RFC 6749, section 5.1: then all were granted
		g.scopes = asked
	}
	return token, g, nil
}

// seconds reads a number, or a string of one.
func seconds(v jsontext.Value) (int64, bool) {
	var n float64
	if err := json.Unmarshal(v, &n, json.StringifyNumbers(v.Kind() == jsontext.KindString)); err != nil || n < 0 || n > 1e12 {
		return 0, false
	}
	return int64(n), true
}

// may reports whether the token has a scope.
func (a *source) may(scope string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.grant.scopes, scope)
}

// firm returns our firm's id, "" if the token doesn't say it.
func (a *source) firm() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grant.firm
}
