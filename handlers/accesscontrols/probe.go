package accesscontrols

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/seed75441868/postern/handlers"
)

// probe gets a token, and looks which of the scopes that are needed it has.
func (a *source) probe(ctx context.Context) []handlers.Finding {
	if err := a.session.SignIn(ctx); err != nil {
		f := handlers.FoundError("api", err)
		var refused *handlers.AuthError
		if errors.As(err, &refused) && refused.Code == http.StatusBadRequest {
			f.Todo = "check api.client_id, the file of api.client_secret and api.token_url; the client needs the scopes " + strings.Join(a.scopes(true), " ")
		}
		return []handlers.Finding{f}
	}
	findings := []handlers.Finding{handlers.Found("api", "the client gets a token")}
	for _, scope := range a.scopes(false) {
		switch {
		case a.may(scope):
			findings = append(findings, handlers.Found("api", "the token has the scope "+scope))
		case scope == scopeAdminRead:
			findings = append(findings, handlers.Finding{
				Setting: "api", Grade: handlers.FoundWarn, Text: "the token lacks the scope " + scope + ": grants are read as this firm sees them",
				Todo: "ask CAS for the scope if you want the grants of others, too",
			})
		default:
			findings = append(findings, handlers.Finding{
				Setting: "api", Grade: handlers.FoundFail, Text: "the token lacks the scope " + scope,
				Todo: "ask CAS to give the client that scope",
			})
		}
	}
	return findings
}
