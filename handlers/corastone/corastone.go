// Package corastone hears what a Corastone node pushes: Sequence Entries inside
// Amazon SNS envelopes, or bare ones from a relay. It verifies the envelope's
// signature with the certificate that it names or with pinned ones, or has the
// relay show a shared secret, and translates the four kinds of entry
// (transaction, orchestration, error, job) and the two confirmations of a
// subscription.
//
// Facts about the entries come from Corastone's Integration API guide
// (Integration topics; Event retrieval, Get Sequence Data), facts about the
// envelope from the Amazon SNS developer guide (Parsing message formats;
// Verifying the signatures of messages). Neither says everything: values are
// taken as open, ids as opaque.
package corastone

import (
	"time"

	"github.com/seed75441868/postern/handlers"
)

// Name is what `platform:` says of a source of this platform.
const Name = "corastone"

// Roles of deliveries.
const (
	RoleNotification = "notification" // the payload is an envelope that carries an entry
	RoleConfirmation = "confirmation" // the payload is an envelope that asks to confirm a subscription
	RoleUnsubscribe  = "unsubscribe"  // the payload is an envelope that says that a subscription ended
	RoleEntry        = "entry"        // the payload is a bare entry
)

// maxAge is the age from which a push is stale. It may not be raised: what was
// received is remembered 31 days, and a repeat must be recognised as long as
// it is believed.
const maxAge = 30 * 24 * time.Hour

// Platform returns what Corastone offers to Postern.
func Platform() handlers.Platform {
	return handlers.Platform{
		Name: Name,
		Settings: func() any {
			return &Settings{Push: &Push{Signature: SignatureRequired, MaxAge: handlers.Duration(maxAge)}}
		},
		Open: func(name string, settings any, means handlers.Means) (handlers.Source, error) {
			return open(name, settings, means, time.Now())
		},
		Normalize: normalize,
	}
}
