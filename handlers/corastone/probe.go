package corastone

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"

	"github.com/seed75441868/postern/handlers"
)

// probe is the connectivity test of the guide: a token call at the
// organisation's host. If the scopes are refused together, each is asked for
// alone.
func (c *client) probe(means handlers.Means, id, secret string, scopes []string) handlers.Probe {
	return func(ctx context.Context) []handlers.Finding {
		err := c.session.SignIn(ctx)
		if err == nil {
			return []handlers.Finding{handlers.Found("api", "the client gets a token with all scopes that are needed")}
		}
		f := handlers.FoundError("api", err)
		var refused *handlers.AuthError
		var name *net.DNSError
		switch {
		case errors.As(err, &name) && name.IsNotFound:
			f.Todo = "correct api.url: a part of the host is the organisation's id as Corastone's onboarding gave it"
		case errors.As(err, &refused) && refused.Code == http.StatusForbidden:
			f.Todo = "the gateway in front of the API refuses us: have Corastone allow this machine's address, and see that no proxy takes the User-Agent away"
		case errors.As(err, &refused) && refused.Code == http.StatusBadRequest:
			return c.each(ctx, means, id, secret, scopes, f)
		}
		return []handlers.Finding{f}
	}
}

// each asks for a token with each scope alone, and says which are refused.
func (c *client) each(ctx context.Context, means handlers.Means, id, secret string, scopes []string, together handlers.Finding) []handlers.Finding {
	var findings []handlers.Finding
	for _, scope := range slices.Compact(slices.Sorted(slices.Values(scopes))) {
		err := handlers.NewSession(means.Client, c.login(id, secret, []string{scope})).SignIn(ctx)
		var refused *handlers.AuthError
		switch {
		case err == nil:
			findings = append(findings, handlers.Found("api.scopes", "the client may have "+scope))
		case errors.As(err, &refused) && refused.Code == http.StatusBadRequest:
			findings = append(findings, handlers.Finding{
				Setting: "api.scopes", Grade: handlers.FoundFail, Text: "the client may not have " + scope,
				Todo: "have Corastone give the client that scope, or set api.scopes to those that it has: what needs the others is not asked then",
			})
		default:
			return []handlers.Finding{handlers.FoundError("api", err)}
		}
	}
	if !slices.ContainsFunc(findings, func(f handlers.Finding) bool { return f.Grade == handlers.FoundFail }) {
		findings = append(findings, together) // it isn't about scopes
	}
	return findings
}
