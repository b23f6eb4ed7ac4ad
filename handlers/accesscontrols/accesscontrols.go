// Package accesscontrols watches Access Controls of CAS, the Cross Asset
// Services of S&P Global (once Ipreo): who may see and do what with a tranche
// or a deal, and with it whether the book is open and allocations are released.
//
// CAS tells nothing by itself, lists nothing and deletes nothing here. So each
// tranche and deal that the settings name, or that the Deals API lists, is read
// again and again, and what is different is told:
//
//   - The v1 document of a tranche has six flags, which become offering.*. The
//     rest of it is a document, which becomes access.*: a change of a flag
//     alone is not told a second time as a change of the document.
//   - The v2 documents of tranches and deals come in two views: as the user
//     sees them (each permission a boolean) and in full (each permission a set
//     of rules). They become access.*, with all that is different in them. Their
//     allocation.released stands in for the flag of a v1 document that can't be
//     read.
//   - The grants between firms are a set, whose elements become access.granted
//     and access.revoked.
//
// Facts about the platform come from its documentation (Access Controls,
// Deals, Data access, Get token). Where that is silent or contradicts itself
// the decoder takes whatever is meant: names in any case, objects where lists
// are documented, members that nobody knows yet.
package accesscontrols

import (
	"time"

	"github.com/seed75441868/postern/handlers"
)

// Name is what `platform:` says of a source of this platform.
const Name = "accesscontrols"

// Roles of pollers, which are their names too.
const (
	RoleTranchesV1 = "tranches-v1" // v1 documents of tranches, and the flags of offerings
	RoleTranchesV2 = "tranches-v2" // v2 documents of tranches
	RoleDeals      = "deals"       // v2 documents of deals
	RoleGrants     = "grants"      // grants between firms
)

// RoleDowngrade is the role of a delivery that says that the platform answers
// with private data where shared data was asked for.
const RoleDowngrade = "downgrade"

// Platform returns what CAS Access Controls offer to Postern.
func Platform() handlers.Platform {
	return handlers.Platform{
		Name: Name,
		Settings: func() any {
			return &Settings{View: ViewUser, Poll: &Poll{Interval: handlers.Duration(time.Minute)}}
		},
		Open:      open,
		Normalize: normalize,
	}
}
