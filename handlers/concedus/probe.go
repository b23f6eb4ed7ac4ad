package concedus

import (
	"context"
	"errors"
	"net/http"

	"github.com/seed75441868/postern/handlers"
)

// account is a list that an account reads, and where that is configured.
type account struct {
	setting string
	list    *list
}

// probe has each account log in and read the beginning of its list.
func probe(accounts []account) handlers.Probe {
	return func(ctx context.Context) []handlers.Finding {
		findings := make([]handlers.Finding, 0, len(accounts))
		for _, a := range accounts {
			findings = append(findings, a.probe(ctx))
		}
		return findings
	}
}

func (a account) probe(ctx context.Context) handlers.Finding {
	_, err := a.list.session.Do(ctx, handlers.Call{Endpoint: a.list.endpoint, URL: a.list.url + "?page=1&pageSize=1"})
	if err == nil {
		return handlers.Found(a.setting, "logs in and may read its list")
	}
	f := handlers.FoundError(a.setting, err)
	var answered *handlers.UpstreamError
	switch {
	case !errors.As(err, &answered) || answered.Code != http.StatusForbidden && answered.Code != http.StatusNotFound:
	case a.list.owner == "":
		f.Text, f.Todo = "logs in, and may not read the tied agent's list", "ask Concedus whether this is the account of a tied agent"
	default:
		f.Text, f.Todo = "logs in, and may not read this owner's list", "check its owner: it is the id of the product owner that the account belongs to"
	}
	return f
}
