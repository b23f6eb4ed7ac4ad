package accesscontrols

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/seed75441868/postern/handlers"
)

// ErrDowngraded says that CAS answers with private data where shared data was
// asked for. It does so without a word if our firm is no issuer.
var ErrDowngraded = errors.New("shared data was asked for and private data answered: the client's firm is no issuer; " +
	"ask CAS to change that, or set shared: false")

// probes is how many tranches are asked whether the data is shared.
const probes = 3

// sharing fails with [ErrDowngraded] if data that should be shared is private:
// then it is evaluated for our own firm, and not for that of the shared data.
// Where neither the token nor the grants name a firm this can't be known.
func (a *source) sharing(ctx context.Context, s handlers.Scan, ids []string) error {
	if !a.settings.Shared || a.sharedSince(s) {
		return nil
	}
	for _, id := range ids[:min(probes, len(ids))] {
		tree, ok, err := a.askGrants(ctx, id)
		if err != nil {
			return err
		}
		data := at(tree, "supportingData")
		if !ok || textOf(at(data, "firmId")) == "" {
			continue
		}
		if a.own(data) {
			return a.downgraded(s)
		}
		break
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checked = s.Began()
	return nil
}

// sharedSince reports whether it was seen lately that the data is shared.
func (a *source) sharedSince(s handlers.Scan) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	age := s.Began().Sub(a.checked)
	return !a.checked.IsZero() && age >= 0 && age < refresh
}

// own reports whether supporting data was evaluated for our own firm.
func (a *source) own(data any) bool {
	firm := a.firm()
	return firm != "" && textOf(at(data, "firmId")) == firm
}

// downgraded tells of the downgrade, and returns the error that a scan fails
// with.
func (a *source) downgraded(s handlers.Scan) error {
	a.mu.Lock()
	a.checked = s.Began().Add(-refresh)
	a.mu.Unlock()
	payload := []byte(`{"accessType":"private"}`)
	err := s.Tell(handlers.Fact{
		Role: RoleDowngrade, TransportID: RoleDowngrade, Content: sha256.Sum256(payload), Payload: payload,
	})
	return errors.Join(ErrDowngraded, err)
}
