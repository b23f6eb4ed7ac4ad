package tokeny

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/seed75441868/postern/handlers"
)

// probe has the account sign in, and lists the candidates of each token.
func probe(session *handlers.Session, pollers []*poller) handlers.Probe {
	return func(ctx context.Context) []handlers.Finding {
		if err := session.SignIn(ctx); err != nil {
			f := handlers.FoundError("api", err)
			var refused *handlers.AuthError
			if errors.As(err, &refused) {
				f.Todo = "check api.email and the file of api.password; the account must be an agent's, without two-factor authentication, and not be locked"
			}
			return []handlers.Finding{f}
		}
		findings := []handlers.Finding{handlers.Found("api", "the account signs in")}
		for i, p := range pollers {
			findings = append(findings, p.probe(ctx, fmt.Sprintf("tokens[%d]", i)))
		}
		return findings
	}
}

func (p *poller) probe(ctx context.Context, setting string) handlers.Finding {
	refused := []int{http.StatusForbidden, http.StatusNotFound}
	answer, err := p.session.Do(ctx, handlers.Call{Endpoint: endpointCandidates, URL: p.base + "/candidates", Accept: refused})
	switch {
	case err != nil:
		return handlers.FoundError(setting, err)
	case slices.Contains(refused, answer.Code):
		return handlers.Finding{
			Setting: setting, Grade: handlers.FoundFail,
			Text: fmt.Sprintf("%s: its candidates may not be read: answered %d", endpointCandidates, answer.Code),
			Todo: "check the token's id, and have the account made an agent of the token",
		}
	}
	return handlers.Found(setting, "its candidates may be read")
}
