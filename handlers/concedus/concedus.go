// Package concedus asks Concedus what is open: the tied agent's contracts that
// wait to be approved, each issuer's contracts that wait to be accepted, and
// the compliance status of both. Concedus tells no history: a contract is on a
// list or it isn't, and why it left is asked for afterwards, or not known.
//
// Facts come from Concedus' documentation (Introduction, Authentication; Import
// process, Get compliance records; Tied agent and Issuer, contract states).
// Where it shows several forms of one thing, all are read. Keys of contracts
// are opaque and may hold a person's id, so that only pseudonyms of them leave
// what is sealed.
package concedus

import (
	"time"

	"github.com/seed75441868/postern/handlers"
)

// Name is what `platform:` says of a source of this platform.
const Name = "concedus"

// Roles of pollers, which are the parts of an entity's record.
const (
	RoleAgentList  = "agent-list"  // the tied agent's open contracts
	RoleIssuerList = "issuer-list" // an issuer's open contracts
	RoleCompliance = "compliance"  // a compliance status, and what became of an absence
)

// Defaults of the settings.
const (
	defaultInterval   = time.Minute
	defaultResolveFor = 72 * time.Hour
)

// Platform returns what Concedus offers to Postern.
func Platform() handlers.Platform {
	return handlers.Platform{
		Name: Name,
		Settings: func() any {
			return &Settings{
				Poll:       Poll{Interval: handlers.Duration(defaultInterval)},
				ResolveFor: handlers.Duration(defaultResolveFor),
			}
		},
		Open:      open,
		Normalize: normalize,
	}
}
