// Package tokeny watches the investors of tokens on Tokeny's T-REX Servicing:
// it lists the candidates of each token again and again, looks among the
// token's holders for those that are candidates no more, and translates what
// is different into the vocabulary.
//
// Names, mail addresses and wallets become pseudonyms as soon as a list is
// decoded, and of all else that the platform knows about people only what is
// no personal data is decoded at all.
//
// Facts about the API come from Tokeny's developer documentation (Getting API
// access; Qualify new investors; Get candidates). It shows a list of candidates
// with items and nothing behind them, so paging is taken for possible: a list
// that says that there is more is read to its end or not believed. It names the
// list of holders without showing it: its shape is assumed to be alike, and it
// is only ever used as evidence.
package tokeny

import (
	"time"

	"github.com/seed75441868/postern/handlers"
)

// Name is what `platform:` says of a source of this platform.
const Name = "tokeny"

// Roles of deliveries.
const (
	RoleCandidates = "candidates" // the payload is a change of an investor
	RoleDrift      = "drift"      // the payload says what of a list the vocabulary doesn't know
)

// interval is how often a token's candidates are listed. The platform limits
// rates without saying how.
const interval = time.Minute

// Platform returns what Tokeny offers to Postern.
func Platform() handlers.Platform {
	return handlers.Platform{
		Name:      Name,
		Settings:  func() any { return &Settings{Poll: Poll{Interval: handlers.Duration(interval)}} },
		Open:      open,
		Normalize: normalize,
	}
}
